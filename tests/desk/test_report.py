"""What `status` reports, made from values: no journal, no machine."""

from dataclasses import replace

from pairs import drive

from daemon.config.loading import load
from daemon.desk import report

ACCOUNT = "credentials: {access_key_id: A, secret_access_key_file: secret}\n"


def settings(folder, more=""):
    """A configuration."""
    (folder / "secret").write_text("s")
    (folder / "secret").chmod(0o600)
    (folder / "config.yml").write_text(f"spool: {folder}\n{ACCOUNT}{more}")
    return load(folder / "config.yml", {})


def test_the_running_systems_own_disk_is_left_out(tmp_path):
    """Unless a deviceId means it."""
    root = drive("ROOT")
    root = replace(root, mount=replace(root.mount, mount_point="/"))
    other = drive("OTHER", 2)

    shown = report.status(settings(tmp_path), [replace(root, identity=other.identity), other])
    assert [one["mountPoint"] for one in shown["drives"]] == ["/media/2"]

    mapped = settings(tmp_path, "require_mapping: yes\ndevices: {HD001: {label: ROOT}}\n")
    shown = report.status(mapped, [root])
    assert [one["deviceIds"] for one in shown["drives"]] == [["HD001"]]
