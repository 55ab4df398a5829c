"""Streamlit's watch over its own configuration, which is read at the start alone."""

import gc

from streamlit.watcher.polling_path_watcher import PollingPathWatcher


def stop_watching_files() -> None:
    """End the watch over Streamlit's configuration files.

    It looks five times a second whether they have changed, whatever `fileWatcherType` says: more than half of what the
    pages' process does while nobody asks for a page. Only the watchers' own tasks know of them, hence the search.
    """
    for held in gc.get_objects():
        if type(held) is PollingPathWatcher:
            held.close()
