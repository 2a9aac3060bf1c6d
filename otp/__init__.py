"""Supervised, durable, light actors in processes; knows nothing of SLAs."""
