"""Nothing looks after files while the pages run."""

import time
from pathlib import Path

from streamlit.watcher.polling_path_watcher import PollingPathWatcher

from pages.session.watchers import stop_watching_files


def test_a_file_that_was_watched_is_no_longer_looked_at(tmp_path: Path) -> None:
    changed: list[str] = []
    path = tmp_path / "config.toml"
    path.write_text("[theme]")
    PollingPathWatcher(str(path), changed.append)

    stop_watching_files()

    path.write_text('[theme]\nbase = "dark"')
    time.sleep(0.5)  # it looks every 0.2 s
    assert changed == []
