"""What one account and service have against a good manifest."""

from pathlib import Path

import pytest

from daemon.errors import ManifestError
from daemon.manifest import rules
from daemon.manifest.acceptance import Terms

GUIDE = (Path(__file__).parents[1] / "data" / "guide-manifest.yml").read_text()
KEY = "AKIAIOSFODNN7EXAMPLE"
OWN = GUIDE.replace("Your ", "").replace("Optional 2nd Line for Street", "c/o")


def faults(text, *, key=KEY, is_trial=False):
    """The faults, as a person reads them."""
    try:
        Terms(key, is_trial).check(rules.read(text.encode(), "m.yml"))
    except ManifestError as error:
        return [str(fault) for fault in error.faults]
    return []


def test_the_guides_example_is_good_for_a_trial():
    """On this machine nothing is sent anywhere; on the real service nine lines are left to fill."""
    assert faults(GUIDE, is_trial=True) == []
    assert faults(OWN) == []

    found = faults(GUIDE)
    assert len(found) == 9
    assert found[0] == (
        "m.yml:9:10: returnAddress.name: is the guide's placeholder; write your own value"
    )


@pytest.mark.parametrize("value", ["***Your Name***", "[NAME]", "<name>", "{name}"])
def test_a_templates_placeholder_is_none_of_an_address(value):
    """Whatever marks the template uses."""
    text = OWN.replace("name:Name", f'name: "{value}"')

    assert [one for one in faults(text) if "returnAddress.name" in one]


@pytest.mark.parametrize("value", ["your name", "YOUR NAME", " Your  Name ", " ***Your Name*** "])
def test_a_placeholder_is_one_in_any_spelling(value):
    """A spreadsheet or a person may have changed its case and its spaces."""
    text = OWN.replace("name:Name", f'name: "{value}"')

    assert [one for one in faults(text) if "returnAddress.name" in one]


def test_a_bucket_may_be_called_mybucket():
    """Only an address to which a drive would be sent is refused; the rest stays a warning."""
    assert "logBucket:mybucket" in OWN
    assert faults(OWN) == []


def test_the_key_of_another_account_has_its_line():
    """Where the configured key is not known, it is not compared; a manifest need not have one."""
    (found,) = faults(OWN, key="AKIAOTHER")

    assert found.startswith(f"m.yml:2:13: accessKeyId: is {KEY}, but config.yml has AKIAOTHER;")
    assert faults(OWN, key="") == []
    assert faults(OWN.replace(f"accessKeyId:{KEY}\n", ""), key="AKIAOTHER") == []
