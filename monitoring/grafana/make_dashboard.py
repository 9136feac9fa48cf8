#!/usr/bin/python3
"""Writes caffe-ssp.json, the dashboard, from the table below.

A test runs this and compares: change the table, not the JSON.
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
W = '{job_id=~"$job_id",worker=~"$worker"}'
S = '{instance=~"$instance"}'
J = '{job_id=~"$job_id"}'
RATE = "[$__rate_interval]"

# Rows of panels: (title, description, unit, [(expression, legend)]).
ROWS = [
    ("Training", [
        ("Loss", "Loss of each worker's last clock.", "short",
         [(f"cssp_worker_loss_value{W}", "worker {{worker}}")]),
        ("Images per second", "Samples trained, all workers of the job.", "short",
         [(f"sum by (job_id) (rate(cssp_worker_samples_total{W}{RATE}))", "{{job_id}}")]),
        ("Clock", "Clocks committed by each worker; the spread is at most the bound.", "short",
         [(f"cssp_worker_clock_clocks{W}", "worker {{worker}}")]),
        ("Duration of a clock, p50 and p95", "Compute and waiting together.", "s",
         [(f"histogram_quantile(0.5, sum by (le) (rate(cssp_worker_clock_duration_seconds_bucket{W}{RATE})))", "p50"),
          (f"histogram_quantile(0.95, sum by (le) (rate(cssp_worker_clock_duration_seconds_bucket{W}{RATE})))", "p95")]),
    ]),
    ("Jobs", [
        ("Jobs and servers", "Jobs that have not ended, servers that keep their lease; as the coordinator sees them.", "short",
         [("cssp_coordinator_running_jobs", "jobs"),
          ("cssp_coordinator_live_servers", "servers")]),
        ("Workers of a job", "Alive, and held back by a slower one for longer than the bound on stalls.", "short",
         [(f"cssp_coordinator_job_workers{J}", "{{job_id}} alive"),
          (f"cssp_coordinator_job_stalled_workers{J}", "{{job_id}} held back")]),
        ("Workers lost", "Dead before their work was done, and the parts that updates went without for it.", "short",
         [("cssp_coordinator_dead_workers_total", "dead"),
          (f"cssp_shard_missing_parts_total{S}", "{{instance}} missing parts")]),
        ("Checkpoints", "Committed, and cuts that did not become one.", "short",
         [("cssp_coordinator_checkpoints_total", "committed"),
          ("cssp_coordinator_failed_checkpoints_total", "failed")]),
    ]),
    ("Staleness", [
        ("Share of time spent waiting", "For weights: high at s=0 with stragglers, raise the bound. For records: reading or decoding is too slow.", "percentunit",
         [(f"rate(cssp_worker_weight_wait_seconds_total{W}{RATE})", "worker {{worker}} weights"),
          (f"rate(cssp_worker_data_wait_seconds_total{W}{RATE})", "worker {{worker}} records")]),
        ("Staleness of reads", "Mean of clock minus version, per chunk read.", "short",
         [(f"rate(cssp_worker_read_staleness_clocks_sum{W}{RATE}) / rate(cssp_worker_read_staleness_clocks_count{W}{RATE})", "worker {{worker}}")]),
        ("Parked pulls", "Reads that wait at a server for the bound.", "short",
         [(f"cssp_shard_parked_pulls{S}", "{{instance}}")]),
        ("Clocks closed by a server", "What every live worker has committed, and the newest version.", "short",
         [(f"cssp_shard_min_clocks{S}", "{{instance}} closed"),
          (f"cssp_shard_max_version_clocks{S}", "{{instance}} newest")]),
    ]),
    ("Data plane", [
        ("Gradients in, weights out", "Payload bytes per second at each server.", "Bps",
         [(f'sum by (instance) (rate(cssp_transport_bytes_total{{instance=~"$instance",direction="received"}}{RATE}))', "{{instance}} in"),
          (f'sum by (instance) (rate(cssp_transport_bytes_total{{instance=~"$instance",direction="sent"}}{RATE}))', "{{instance}} out")]),
        ("Push latency, p50 and p99", "From a push to its acknowledgement.", "s",
         [(f"histogram_quantile(0.5, sum by (le) (rate(cssp_worker_push_latency_seconds_bucket{W}{RATE})))", "p50"),
          (f"histogram_quantile(0.99, sum by (le) (rate(cssp_worker_push_latency_seconds_bucket{W}{RATE})))", "p99")]),
        ("Refused, duplicate and late pushes", "Duplicates are normal after a reconnect, late ones with backup workers.", "short",
         [(f"rate(cssp_shard_refused_total{S}{RATE})", "{{instance}} refused"),
          (f"rate(cssp_shard_refused_stale_total{S}{RATE})", "{{instance}} too stale"),
          (f"rate(cssp_shard_duplicates_total{S}{RATE})", "{{instance}} duplicate"),
          (f"rate(cssp_shard_late_parts_total{S}{RATE})", "{{instance}} late")]),
        ("Connections lost", "Peers that died or left.", "short",
         [(f"rate(cssp_transport_lost_connections_total{S}{RATE})", "{{instance}}")]),
    ]),
    ("Processes", [
        ("Processor time", "Cores in use.", "short",
         [(f"rate(process_cpu_seconds_total{S}{RATE})", "{{instance}}")]),
        ("Resident memory", "Of servers and workers.", "bytes",
         [(f"process_resident_memory_bytes{S}", "{{instance}}")]),
        ("Parameters held", "Bytes of values and history at each server.", "bytes",
         [(f"cssp_shard_parameter_bytes{S}", "{{instance}}")]),
        ("Checkpoint parts", "Durable and failed parts of cuts, as counted by each server.", "short",
         [(f"cssp_shard_checkpoints_total{S}", "{{instance}} durable"),
          (f"cssp_shard_checkpoint_failures_total{S}", "{{instance}} failed")]),
    ]),
]


def panel(number, title, text, unit, targets, x, y):
    return {
        "id": number, "type": "timeseries", "title": title, "description": text,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"h": 8, "w": 6, "x": x, "y": y},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0,
                                     "custom": {"lineWidth": 1, "fillOpacity": 5}},
                        "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"},
                    "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [{"refId": chr(65 + i), "expr": expr, "legendFormat": legend,
                     "datasource": {"type": "prometheus", "uid": "${datasource}"}}
                    for i, (expr, legend) in enumerate(targets)],
    }


def variable(name, label, query):
    return {"name": name, "label": label, "type": "query", "refresh": 2, "sort": 1,
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "definition": query, "query": {"query": query, "refId": name},
            "includeAll": True, "multi": True, "allValue": ".*",
            "current": {"text": "All", "value": "$__all"}}


def dashboard():
    panels, number, y = [], 1, 0
    for title, row in ROWS:
        panels.append({"id": number, "type": "row", "title": title, "collapsed": False,
                       "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}, "panels": []})
        number, y = number + 1, y + 1
        for i, entry in enumerate(row):
            panels.append(panel(number, *entry, x=6 * i, y=y))
            number += 1
        y += 8
    return {
        "uid": "caffe-ssp", "title": "Caffe-SSP", "tags": ["caffe-ssp"],
        "schemaVersion": 42, "version": 1, "editable": False, "timezone": "browser",
        "refresh": "10s", "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": [
            {"name": "datasource", "label": "Data source", "type": "datasource",
             "query": "prometheus", "current": {}},
            variable("job_id", "Job", "label_values(cssp_worker_clock_clocks, job_id)"),
            variable("worker", "Worker", 'label_values(cssp_worker_clock_clocks{job_id=~"$job_id"}, worker)'),
            variable("instance", "Process", "label_values(process_cpu_seconds_total, instance)"),
        ]},
        "annotations": {"list": []}, "links": [], "panels": panels,
    }


def main():
    text = json.dumps(dashboard(), indent=1) + "\n"
    if sys.argv[1:] == ["--check"]:
        same = (HERE / "caffe-ssp.json").read_text() == text
        sys.exit(0 if same else "caffe-ssp.json is not what make_dashboard.py writes")
    (HERE / "caffe-ssp.json").write_text(text)


if __name__ == "__main__":
    main()
