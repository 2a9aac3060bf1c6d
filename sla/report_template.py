"""The template of the HTML report, for :mod:`slakeeper.sla.report_html`: ``d`` is the report's document."""

from typing import Final

PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Service level report: {{ d.sla.name }}</title>
<style>
  :root { --ink: #1c2430; --soft: #5d6b7e; --line: #d8dee7; --good: #1d7f4e; --bad: #b3261e; --unknown: #7a6a1a; }
  body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff; max-width: 56rem;
         margin: 2rem auto; padding: 0 1.25rem; }
  h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
  .soft { color: var(--soft); } .good { color: var(--good); } .bad { color: var(--bad); } \
.unknown { color: var(--unknown); }
  .verdict { font-size: 1.15rem; font-weight: 600; margin: 1rem 0; }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; width: 100%; font-size: .9rem; }
  th, td { text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
  .n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
  code { font-size: .85em; overflow-wrap: anywhere; }
  svg { display: block; width: 100%; height: auto; overflow: visible; } svg text { font: 11px system-ui, sans-serif; }
  footer { margin-top: 2.5rem; padding-top: .75rem; border-top: 1px solid var(--line); font-size: .85rem; }
  @media print { body { margin: 0; max-width: none; font-size: 11pt; } h2, svg, tr { break-inside: avoid; }
                 h2 { break-after: avoid; } * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
</style>
</head>
<body>
<h1>{{ d.sla.name }}</h1>
<p class="soft">Service level report, {{ time(d.period.start) }} to {{ time(d.period.end) }}</p>
{% if d.sla.description %}<p>{{ d.sla.description }}</p>{% endif %}
<p class="verdict {{ verdict[1] }}">{{ verdict[0] }}\
{% if d.period.attainment is none %}. Promised were {{ d.sla.service_level }} %\
{% else %}: {{ ratio(d.period.attainment) }} reached, {{ d.sla.service_level }} % promised{% endif %}</p>

<h2>Attainment</h2>
{% if d.metrics %}<div class="scroll"><table>
<tr><th>Metric</th><th>Promise</th><th class="n">Weight</th><th class="n">Good</th><th class="n">Bad</th>\
<th class="n">Unknown</th><th class="n">Excluded</th><th class="n">Attainment</th></tr>
{% for m in d.metrics %}<tr><td>{{ m.name }}</td><td>{{ promised(m) }}</td><td class="n">{{ m.weight }}</td>\
<td class="n">{{ duration(m.good_ms) }}</td><td class="n">{{ duration(m.bad_ms) }}</td>\
<td class="n">{{ duration(m.unknown_ms) }}</td><td class="n">{{ duration(m.excluded_ms) }}</td>\
<td class="n">{{ ratio(m.attainment) }}</td></tr>
{% endfor %}</table></div>
<p class="soft">Unknown time counts neither for nor against the promise; excluded time does not count at all.</p>
{% else %}<p>Nothing was measured in this period.</p>{% endif %}

<h2>Error budget</h2>
<svg viewBox="0 0 {{ width }} 22" role="img" aria-label="Share of the error budget that is spent">
<rect x="0" y="4" width="{{ width }}" height="14" rx="3" fill="#e4e9f0"/>
<rect x="0" y="4" width="{{ (width * spent) | round(2) }}" height="14" rx="3" \
fill="{{ '#b3261e' if spent >= 1 else '#3566b0' }}"/>
</svg>
<p>{{ duration(d.budget.spent_ms) }} of {{ duration(d.budget.total_ms) }} spent\
{% if d.budget.spent is not none %} ({{ ratio(d.budget.spent, 1) }}){% endif %}; \
{% if d.budget.remaining_ms >= 0 %}{{ duration(d.budget.remaining_ms) }} are left\
{% else %}it is overdrawn by {{ duration(-d.budget.remaining_ms) }}{% endif %}.\
{% if d.budget.ends_at is not none %} At the present rate it ends at {{ time(d.budget.ends_at) }}.{% endif %}</p>

<h2>Violations</h2>
{% if timeline %}<svg viewBox="0 0 {{ width }} {{ timeline.height + 18 }}" role="img"\
 aria-label="Violations over the period">
{% for name, y in timeline.lanes %}<line x1="0" x2="{{ width }}" y1="{{ y }}" y2="{{ y }}" stroke="#d8dee7"/>
{% endfor %}
{% for b in timeline.bars %}<rect x="{{ b.x }}" y="{{ b.y }}" width="{{ b.width }}" height="{{ b.height }}" rx="2" \
fill="{{ colours.get(b.row.severity, '#5d6b7e') }}">\
<title>{{ b.row.metric_name }}, {{ b.row.severity }}, {{ time(b.row.start_time) }}</title></rect>
{% endfor %}
{% for name, y in timeline.lanes %}<text x="2" y="{{ y - 2 }}" fill="#1c2430" stroke="#fff" stroke-width="3" \
paint-order="stroke">{{ name }}</text>
{% endfor %}
<text x="0" y="{{ timeline.height + 14 }}" fill="#5d6b7e">{{ time(d.period.start) }}</text>
<text x="{{ width }}" y="{{ timeline.height + 14 }}" fill="#5d6b7e" text-anchor="end">{{ time(d.period.end) }}</text>
</svg>
<div class="scroll"><table>
<tr><th>Metric</th><th>Severity</th><th>From</th><th class="n">Lasted</th><th class="n">Worst</th><th>Status</th>\
<th>Done and told</th></tr>
{% for v in d.violations %}<tr><td>{{ v.metric_name }}<br><code class="soft">{{ v.id }}</code></td>\
<td>{{ v.severity }}</td>\
<td>{{ time(v.start_time) }}</td><td class="n">{{ duration(v.duration_ms) }}</td>\
<td class="n">{{ measured(v.worst_value, v.unit) }}</td><td>{{ v.status }}\
{% if v.resolved_by %} by {{ v.resolved_by }}{% endif %}\
{% if v.resolve_note %}: {{ v.resolve_note }}{% endif %}</td>\
<td>{% for a in v.remediation_actions %}{{ a.name }} on {{ a.target }}: {{ a.status }}<br>{% endfor %}\
{% for e in v.escalations %}{{ e.channel }}, {{ e.severity }} level {{ e.level + 1 }}: \
{{ e.status }}<br>{% endfor %}</td></tr>
{% endfor %}</table></div>
{% else %}<p>None.</p>{% endif %}

<h2>Compensation</h2>
{% if d.ledger %}<div class="scroll"><table>
<tr><th>Entry</th><th>Kind</th><th class="n">Amount</th><th>How</th><th>Status</th></tr>
{% for e in d.ledger %}<tr><td><code>{{ e.id }}</code></td><td>{{ e.compensation_type | replace("_", " ") }}</td>\
<td class="n">{{ money(e) }}</td><td><code>{{ e.arithmetic }}</code></td><td>{{ e.status }}\
{% if e.reason %}: {{ e.reason }}{% endif %}</td></tr>
{% endfor %}</table></div>
<p>{% for o in d.owed %}{{ o.compensation_type | replace("_", " ") }}, {{ o.status }}: <b>{{ money(o) }}</b>\
{% if not loop.last %}; {% endif %}{% endfor %}</p>
{% else %}<p>None.</p>{% endif %}

{% if trend %}<h2>Trend</h2>
<svg viewBox="0 0 {{ width }} {{ trend_height + 4 }}" role="img"\
 aria-label="Attainment of the periods against the target">
{% for b in trend.bars %}<rect x="{{ b.x }}" y="{{ b.y }}" width="{{ b.width }}" height="{{ b.height }}" \
fill="{{ '#b3261e' if b.row.verdict in ('breached', 'below target') else '#3566b0' }}">\
<title>{{ time(b.row.start) }}: {{ ratio(b.row.attainment) }}</title></rect>
{% endfor %}<line x1="0" x2="{{ width }}" y1="{{ trend.target_y }}" y2="{{ trend.target_y }}" stroke="#1c2430" \
stroke-dasharray="5 4"/>
<text x="{{ width }}" y="{{ trend.target_y - 4 }}" text-anchor="end" fill="#1c2430" stroke="#fff" stroke-width="3" \
paint-order="stroke">promised {{ d.sla.service_level }} %</text>
<line x1="0" x2="{{ width }}" y1="{{ trend_height }}" y2="{{ trend_height }}" stroke="#5d6b7e"/>
</svg>
<p class="soft">From {{ ratio(trend.floor | string) }} up to 100 %.</p>
<div class="scroll"><table>
<tr><th>From</th><th>To</th><th class="n">Attainment</th><th class="n">Promised</th>\
<th class="n">Violations</th><th>Verdict</th></tr>
{% for t in d.trend %}<tr><td>{{ time(t.start) }}</td><td>{{ time(t.end) }}</td>\
<td class="n">{{ ratio(t.attainment) }}</td>\
<td class="n">{{ t.service_level }} %</td><td class="n">{{ t.violations }}</td><td>{{ t.verdict }}</td></tr>
{% endfor %}</table></div>
<p class="soft">{{ trend_words }}</p>{% endif %}

<footer class="soft">Contract <code>{{ d.sla.id }}</code>, version {{ d.sla.version }}\
{% if d.sla.owner_team %}, owner {{ d.sla.owner_team }}{% endif %}. All times in {{ d.sla.timezone }}. \
Made at {{ time(d.generated_at) }} by slakeeper.</footer>
</body>
</html>
"""
