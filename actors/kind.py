"""The kinds of SLA actor by the names that stand in journals."""

from slakeeper.actors.alert import AlertActor
from slakeeper.actors.audit import AuditActor
from slakeeper.actors.contract import ContractActor
from slakeeper.actors.escalation import EscalationActor
from slakeeper.actors.ingest import IngestActor
from slakeeper.actors.ledger import LedgerActor
from slakeeper.actors.monitor import MetricMonitorActor
from slakeeper.actors.neighbour import NeighbourActor
from slakeeper.actors.remediation import RemediationActor
from slakeeper.actors.report import ReportActor
from slakeeper.actors.restraint import RestraintActor
from slakeeper.actors.silence import SilencesActor
from slakeeper.actors.source import SourceActor
from slakeeper.actors.violation import ViolationActor
from slakeeper.otp.actor import Actor

KINDS: dict[str, type[Actor]] = {
    "alert": AlertActor,
    "audit": AuditActor,
    "contract": ContractActor,
    "escalation": EscalationActor,
    "ingest": IngestActor,
    "ledger": LedgerActor,
    "monitor": MetricMonitorActor,
    "neighbour": NeighbourActor,
    "remediation": RemediationActor,
    "report": ReportActor,
    "restraint": RestraintActor,
    "silences": SilencesActor,
    "source": SourceActor,
    "violation": ViolationActor,
}
