"""Records, caches and repeats any step; knows no comment and no digit.

`step`: `step`, which makes a recorded Prefect task of a function that writes into a folder.
`branches`: `Branches`, steps of a flow side by side.
`runs`: `FLOW`, the options of every flow; the folder of the current run.
`run_log`: an expected error stands once in the log.
`form`: `with_form`, descriptions of a flow's parameters in the UI.
`records`: `File` and `Reference`, which steps hand each other; `recall`; the cache's layout.
`run_files`: the files in a run's folder, by name.
`history`: past runs: find, tell in detail, compare.
`housekeeping`: verify, prune and export records.
`progress`: `report`, for bodies that take long.
`workers`: worker processes within the machine's cores.
`folder_store`: work in progress that outlives a kill.
`rows`: many rows, batch by batch, in flat memory.
`code`: the fingerprint of what a step can reach.
`own_prefect`: Prefect in a folder of its own, with a password.
`artifacts`: the one way to what its UI renders.
`alerts`, `settings`, `paths`, `locks`, `files`: webhook, what may be set, where things lie, whose
turn it is, files that are whole or absent.
"""
