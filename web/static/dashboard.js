"use strict";

// Status is polled; events say that it is worth asking at once. Without events (a proxy in between) polling is enough.
const POLL_MS = 2000;
const AFTER_EVENT_MS = 150; // many events in a burst make one question
const MS = { s: 1000, m: 60000, h: 3600000, d: 86400000 };

const TONE = {
  healthy: "good", running: "good", ok: "good",
  warning: "warn", restarting: "warn", starting: "warn", stopping: "warn",
  critical: "bad", breached: "lost", breach: "lost", quarantined: "bad",
};
const SEVERITIES = ["breach", "critical", "warning", "info"];
const STATUSES = ["breached", "critical", "warning", "healthy", "pending", "suspended", "expired"];

const find = (id) => document.getElementById(id);

// A message that went to the log only has told nobody.
function escalated(levels) {
  const told = levels.filter((level) => level.status === "sent").length;
  return told ? `escalated, ${told} told` : "escalated, nobody told";
}

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const pill = (text) => make("span", `pill ${TONE[text] || ""}`, text);

function number(value, digits) {
  if (value === null || value === undefined || value === "") return "–";
  const parsed = Number(value);
  if (!Number.isFinite(parsed)) return "–";
  return parsed.toLocaleString("en", { maximumFractionDigits: digits });
}

const percent = (value, digits) => (value === null || value === undefined ? "–" : `${number(value, digits)} %`);

function span(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < MS.m) return `${Math.max(0, Math.floor(ms / MS.s))} s`;
  if (ms < MS.h) return `${Math.floor(ms / MS.m)} min`;
  if (ms < 2 * MS.d) return `${Math.floor(ms / MS.h)} h ${Math.floor((ms % MS.h) / MS.m)} min`;
  return `${Math.floor(ms / MS.d)} d ${Math.floor((ms % MS.d) / MS.h)} h`;
}

function since(ms) {
  const when = new Date(ms);
  const cell = make("time", "", `${span(Date.now() - ms)} ago`);
  cell.dateTime = when.toISOString();
  cell.title = when.toLocaleString();
  return cell;
}

function budget(share) {
  if (share === null || share === undefined) return "–";
  const left = Number(share);
  const tone = left <= 0 ? " bad" : left < 0.25 ? " warn" : "";
  const width = Math.min(100, Math.max(0, left * 100));
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  svg.setAttribute("viewBox", "0 0 100 8");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  bar.setAttribute("width", String(width));
  bar.setAttribute("height", "8");
  svg.append(bar);
  const text = left < -1 ? `spent ${number(1 - left, 1)}×` : percent(left * 100, 0);
  return make("div", `budget${tone}`, svg, make("span", "", text));
}

// Rows are rebuilt from what the server said; text goes in as text, never as markup.
function fill(id, rows) {
  const table = find(id);
  const labels = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  const numeric = [...table.tHead.rows[0].cells].map((cell) => cell.className);
  table.tBodies[0].replaceChildren(...rows.map(({ cells, className }) => {
    const row = make("tr", className || "");
    cells.forEach((content, index) => {
      const cell = make("td", numeric[index], content);
      cell.dataset.label = labels[index];
      row.append(cell);
    });
    return row;
  }));
  table.hidden = rows.length === 0;
  const none = find(`${id}-none`);
  if (none) none.hidden = rows.length > 0;
  find(`${id}-count`).textContent = rows.length ? String(rows.length) : "";
}

// What a row of the contracts does not say and nobody may miss.
function concerns(sla) {
  const lines = [];
  if (sla.actor_status) lines.push(`its actor is ${sla.actor_status}: nobody decides about it`);
  if (sla.escalations_failed) lines.push(`${sla.escalations_failed} violation${sla.escalations_failed > 1 ? "s" : ""} nobody answered for`);
  if (sla.alerts_failed) lines.push(`${sla.alerts_failed} alert${sla.alerts_failed > 1 ? "s" : ""} could not be delivered`);
  if ((sla.burn_alerts || []).length) lines.push(`error budget burns too fast since ${new Date(sla.burn_alerts[0].since).toLocaleString()}`);
  if (sla.budget_ends_at_ms) lines.push(`at this rate the error budget ends on ${new Date(sla.budget_ends_at_ms).toLocaleString()}`);
  if (sla.billing_failed) lines.push(`${sla.billing_failed} approved ${sla.billing_failed > 1 ? "entries" : "entry"} not taken by billing`);
  if ((sla.metrics_down || []).length) lines.push(`not watched, the monitor is down: ${sla.metrics_down.join(", ")}`);
  return lines;
}

const METRIC_TONE = { violating: "below", source_error: "below", at_risk: "risk" };

function metricList(metrics) {
  if (!(metrics || []).length) return "–";
  return make("ul", "metrics", ...metrics.map((metric) => {
    const item = make(
      "li", METRIC_TONE[metric.state] || "", `${metric.name} `, make("strong", "", number(metric.value, 4)),
      metric.state === "ok" || metric.state === "violating" ? null : ` ${metric.state.replaceAll("_", " ")}`,
    );
    item.title = `${metric.state}: promised ${metric.condition} ${number(metric.threshold, 4)} ${metric.unit || ""}`
      + (metric.reason ? `; ${metric.reason}` : "");
    return item;
  }));
}

const named = (name, sub) => make("div", "", name, sub && sub !== name ? make("div", "sub", sub) : null);

function slaRow(sla) {
  const below = sla.attainment !== null && sla.attainment !== undefined && Number(sla.attainment) < Number(sla.service_level);
  return {
    className: sla.stale ? "stale" : "",
    cells: [
      pill(sla.status),
      make("div", "", named(sla.name || sla.id, sla.id), ...concerns(sla).map((line) => make("div", "sub below", line))),
      metricList(sla.metrics), percent(sla.compliance_score, 1),
      make("span", below ? "below" : "", percent(sla.attainment, 4)), percent(sla.service_level, 4),
      budget(sla.error_budget_remaining), number(sla.open_violations, 0),
      sla.time_period_remaining_ms === null ? "–" : `in ${span(sla.time_period_remaining_ms)}`,
    ],
  };
}

function violationRow(violation) {
  let handled = "nobody yet";
  if (violation.acknowledged) handled = `acknowledged by ${violation.acknowledged_by || "somebody"}`;
  else if ((violation.escalations || []).length) handled = escalated(violation.escalations);
  else if ((violation.remediation_actions || []).length) handled = "remediation runs";
  return {
    cells: [
      pill(violation.severity), make("code", "id", violation.id), violation.sla_id, violation.metric_name,
      number(violation.actual_value, 4), number(violation.worst_value, 4), number(violation.threshold_value, 4),
      since(violation.start_time), handled,
    ],
  };
}

function processRow(process) {
  const restarts = make("span", process.restarts ? "below" : "", number(process.restarts, 0));
  return {
    cells: [
      pill(process.status || "running"), process.name, process.pid === null ? "–" : String(process.pid),
      restarts, number(process.actors, 0), number(process.mailbox, 0),
    ],
  };
}

function tile(text, count, tone) {
  return make("li", count ? tone : "", make("strong", "", String(count)), text);
}

// A new generation starts every process once more: that is one event, and shown apart.
function ownRestarts(status) {
  const earlier = (status.generation || 1) - 1;
  const above = new Set(["heart", "launcher", "thespian-admin", "thespian-logger", "root"]);
  const own = status.processes.filter((process) => !above.has(process.name));
  return own.reduce((sum, process) => sum + Math.max(0, (process.restarts || 0) - earlier), 0);
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const place = bytes > 0 ? Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10)) : 0;
  return `${number(bytes / 1024 ** place, place ? 1 : 0)} ${units[place]}`;
}

function diskLine(disk) {
  const parts = [`journals ${size(disk.journal_bytes)}`, `snapshots ${size(disk.snapshot_bytes)}`, `audit ${size(disk.audit_bytes)}`,
    `logs ${size(disk.logs_bytes)}`];
  if (disk.left_over_bytes) parts.push(`left over ${size(disk.left_over_bytes)}`);
  return `Disk: ${size(disk.used_bytes)} used (${parts.join(", ")}), ${size(disk.free_bytes)} free.`;
}

function failingSources(cells) {
  const failing = new Map();
  for (const cell of cells) for (const [name, why] of Object.entries(cell.sources_failing || {})) failing.set(name, why);
  return [...failing].map(([name, why]) => `${name}: ${why}`);
}

// What has been switched off, by whom and why; and what rests although it is on.
function showRemediation(remediation) {
  const { state, by, reason, time } = remediation;
  const shown = make("span", `pill ${state === "on" ? "good" : "bad"}`, state);
  shown.id = "remediation";
  find("remediation").replaceWith(shown);
  find("remediation-said").textContent = (state === "on" ? "Actions run by themselves" : "No action runs by itself")
    + (by ? `: switched ${state} by ${by} on ${new Date(time).toLocaleString()}: ${reason}` : "");
  const rests = [
    ...(remediation.left_alone || []).map((row) => `${row.sla_id} ${row.metric_name}: ${row.message}`),
    ...(remediation.breakers_open || []).map((row) => row.message),
  ];
  find("remediation-rests").replaceChildren(...rests.map((line) => make("li", "", line)));
  const turn = find("remediation-turn");
  turn.value = state === "on" ? "off" : "on";
  turn.textContent = `Switch ${turn.value}`;
  turn.disabled = turning;
}

let turning = false;

async function turnRemediation(event) {
  event.preventDefault();
  const form = event.target;
  const turn = find("remediation-turn");
  turning = true;
  turn.disabled = true;
  try {
    const wanted = { state: turn.value, by: form.elements.by.value, reason: form.elements.reason.value };
    const answer = await post("/v1/remediation", wanted);
    form.elements.reason.value = "";
    find("remediation-refused").textContent = answer.unreached.length
      ? `not yet confirmed by ${answer.unreached.join(", ")}, which will learn it from the others` : "";
  } catch (error) {
    find("remediation-refused").textContent = error.message;
  }
  turning = false;
  refresh();
}

function showStatus(status) {
  const generations = status.generation || 1;
  const counts = {};
  for (const sla of status.slas) counts[sla.status] = (counts[sla.status] || 0) + 1;
  const order = (sla) => STATUSES.indexOf(sla.status);
  const slas = [...status.slas].sort((a, b) => order(a) - order(b) || a.id.localeCompare(b.id));
  fill("slas", slas.map(slaRow));
  fill("processes", status.processes.map(processRow));
  find("summary").replaceChildren(
    tile("healthy", counts.healthy || 0, "good"), tile("warning", counts.warning || 0, "warn"),
    tile("critical", counts.critical || 0, "bad"), tile("breached", counts.breached || 0, "lost"),
    tile("restarts", ownRestarts(status), "warn"),
    ...(generations > 1 ? [tile("generation", generations, "warn")] : []),
  );
  const failing = failingSources(status.cells || []);
  find("sources").hidden = failing.length === 0;
  find("sources").textContent = `${failing.length === 1 ? "A source fails" : `${failing.length} sources fail`}: ${failing.join("; ")}`;
  const held = (status.cells || []).map((cell) => cell.held).find(Boolean);
  find("held").hidden = !held;
  find("held").textContent = held ? `Nobody is told and no action is run: ${held}` : "";
  find("silences").hidden = !status.silences;
  find("silences").textContent = `Silences in force, so of some violations nobody is told: ${status.silences}`;
  const full = (status.cells || []).map((cell) => cell.low_on_room).find(Boolean);
  find("full").hidden = !full;
  find("full").textContent = full ? `The disk is nearly full, samples are refused: ${full}` : "";
  showRemediation(status.remediation);
  find("disk").hidden = !status.disk;
  find("disk").textContent = status.disk ? diskLine(status.disk) : "";
  const state = pill(status.state);
  state.id = "state";
  find("state").replaceWith(state);
  find("uptime").textContent = `for ${span(status.uptime_s * 1000)}`;
  const worst = slas.length && order(slas[0]) < 3 ? slas[0].status : "";
  document.title = worst ? `${worst} · slakeeper` : "slakeeper";
}

function showViolations(violations) {
  const open = violations.filter((violation) => violation.status !== "resolved");
  const rank = (violation) => SEVERITIES.indexOf(violation.severity);
  open.sort((a, b) => rank(a) - rank(b) || b.start_time - a.start_time);
  fill("violations", open.map(violationRow));
}

let events = false;
let reachable = false;

function showLive() {
  const live = find("live");
  live.className = `live ${!reachable ? "off" : events ? "on" : "polling"}`;
  live.textContent = !reachable ? "not reachable" : events ? "live" : "every 2 s";
}

async function get(path) {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  if (response.status === 401) {
    location.reload(); // the session has ended; the page says how to get another
    throw new Error("signed out");
  }
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function post(path, document) {
  const headers = { accept: "application/json", "content-type": "application/json" };
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(document) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.reason || `${path}: ${response.status}`);
  return answer;
}

let asking = false;
let again = false;

async function refresh() {
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  const answers = await Promise.allSettled([
    get("/v1/status").then(showStatus),
    get("/v1/violations").then(showViolations),
  ]);
  reachable = answers[0].status === "fulfilled";
  for (const answer of answers) if (answer.status === "rejected") console.warn(answer.reason);
  showLive();
  asking = false;
  if (again) {
    again = false;
    soon();
  }
}

let timer = null;

function soon() {
  if (timer === null) {
    timer = setTimeout(() => {
      timer = null;
      refresh();
    }, AFTER_EVENT_MS);
  }
}

find("remediation-form").addEventListener("submit", turnRemediation);

const source = new EventSource("/v1/events");
source.onopen = () => { events = true; soon(); };
source.onerror = () => { events = false; showLive(); };
source.onmessage = soon;

setInterval(() => { if (!document.hidden) refresh(); }, POLL_MS);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
refresh();
