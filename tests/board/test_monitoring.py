"""The metrics, the alert rules and the dashboard, checked and run by Prometheus' own tool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import yaml
from daemon_process import ROOT

MONITORING = ROOT / "docs/monitoring"
RULES = yaml.safe_load((MONITORING / "driveprep.rules.yml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((MONITORING / "grafana.json").read_text())
PROMTOOL = shutil.which("promtool") or ROOT / "build/tools/usr/bin/promtool"
INSTANCE = '{instance="bench7", job="driveprep"}'
BAD_DAY = {  # series with which every alert fires
    f"up{INSTANCE}": "0x200",
    f"driveprep_daemon_running{INSTANCE}": "0x100 1x100",
    f"driveprep_service_reachable{INSTANCE}": "0x200",
    f"driveprep_last_scan_timestamp_seconds{INSTANCE}": "0x200",
    'driveprep_obstacles{instance="bench7", code="read-only"}': "2x200",
    'driveprep_obstacles{instance="bench7", code="drive-absent"}': "9x200",
    'driveprep_jobs{instance="bench7", state="signed"}': "3x200",
    f"driveprep_drives{INSTANCE}": "3x200",
    f"driveprep_oldest_waiting_seconds{INSTANCE}": "800000x200",
    f"driveprep_jobs_made_today{INSTANCE}": "49x200",
    f"driveprep_jobs_daily_limit{INSTANCE}": "50x200",
    'driveprep_mount_to_signature_seconds_bucket{instance="bench7", le="60.0"}': "0x200",
    'driveprep_mount_to_signature_seconds_bucket{instance="bench7", le="300.0"}': "0+1x200",
    'driveprep_mount_to_signature_seconds_bucket{instance="bench7", le="+Inf"}': "0+1x200",
}


def promtool(*words: object, data: bytes = b"") -> str:
    """Run promtool, which must succeed; return what it says."""
    command = [str(PROMTOOL), *map(str, words)]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return done.stdout.decode() + done.stderr.decode()


def test_the_rules_are_good():
    """promtool reads all of them."""
    assert f"{len(ALERTS)} rules found" in promtool(
        "check", "rules", MONITORING / "driveprep.rules.yml"
    )


def test_the_metrics_are_good(page):
    """promtool finds no fault in names, types and texts."""
    promtool("check", "metrics", data=page.get("/metrics").body)


def test_every_expression_runs(tmp_path):
    """Each alert fires on a bad day, and each expression of the dashboard has a result."""
    shutil.copy(MONITORING / "driveprep.rules.yml", tmp_path)
    expressions = [one["expr"] for panel in DASHBOARD["panels"] for one in panel["targets"]]
    expressions = [one.replace("$instance", "bench7") for one in expressions]
    alerts = [
        {"expr": f'count(ALERTS{{alertname="{one["alert"]}", alertstate="firing"}}) > bool 0'}
        for one in ALERTS
    ]
    shown = [{"expr": f"count({one}) > bool 0"} for one in expressions]
    ran = [
        # The daemon is down in the first half, and its scan hangs in the second.
        {**one, "eval_time": "195m" if "ScanStuck" in one["expr"] else "90m"}
        | {"exp_samples": [{"labels": "{}", "value": 1}]}
        for one in [*alerts, *shown]
    ]
    tests = {
        "rule_files": ["driveprep.rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": s, "values": v} for s, v in BAD_DAY.items()],
                "promql_expr_test": ran,
            }
        ],
    }
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump(tests))

    assert len(expressions) > 10
    assert "SUCCESS" in promtool("test", "rules", file)


def test_only_metrics_that_exist_are_used(page):
    """In rules and dashboard; and the README beside them describes each."""
    text = page.get("/metrics").body.decode()
    made = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    used = (MONITORING / "driveprep.rules.yml").read_text() + json.dumps(DASHBOARD)
    names = {name.removesuffix("_bucket") for name in re.findall(r"\bdriveprep_\w+", used)}
    described = (MONITORING / "README.md").read_text()

    # The service is asked when there is a job.
    assert names - {"driveprep_service_reachable"} <= made
    assert [name for name in sorted(made | names) if f"`{name}" not in described] == []


def test_prometheus_reads_what_the_files_promise():
    """The files are where the package installs them from."""
    for name in ("driveprep.rules.yml", "grafana.json"):
        assert Path(MONITORING / name).is_file()
        assert f"docs/monitoring/{name}" in (ROOT / "scripts/layout").read_text()
