"""Lambda: functions run as real processes, timed, limited and billed as AWS does it, on MiniStack's control plane."""
