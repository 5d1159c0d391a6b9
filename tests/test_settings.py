"""Settings: from the environment or ``.env``, each checked, none passed over."""

import pytest

from neural_classifiers.engine.settings import SettingsError, read_settings


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(home, monkeypatch):
    assert read_settings().port == 4200
    lines = ["NEURAL_CLASSIFIERS_PORT=4300", "NEURAL_CLASSIFIERS_DASK=tcp://a:1", "PREFECT_HOME=x"]
    (home / ".env").write_text("\n".join(lines))
    assert (read_settings().port, read_settings().dask) == (4300, "tcp://a:1")
    monkeypatch.setenv("NEURAL_CLASSIFIERS_PORT", "4400")
    assert read_settings().port == 4400


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("NEURAL_CLASSIFIERS_AUTH=s3cret", "NEURAL_CLASSIFIERS_AUTH: .*expected user:password"),
        ("NEURAL_CLASSIFIERS_WEBHOOK=https://bot:s3cret@a.example/hook", "WEBHOOK: .*expected no"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_and_not_quoted(home, line, expected):
    (home / ".env").write_text(f"{line}\n")
    with pytest.raises(SettingsError, match=expected) as refused:
        read_settings()
    assert "s3cret" not in str(refused.value)


def test_a_line_of_ours_that_is_no_setting_is_refused(home):
    (home / ".env").write_text("NEURAL_CLASSIFIERS_WEBHOK=https://chat.example.org/hook\n")
    got = r"\.env: expected .*, got NEURAL_CLASSIFIERS_WEBHOK \[NC51\]$"
    with pytest.raises(SettingsError, match=got):
        read_settings()
