"""The command line, and what keeps schedules running: all that knows flows and steps.

- `cli`: ``run``, ``rerun`` and the way to the other commands; `cli_runs`: past runs and records;
  `cli_models`: promoted models; `cli_up`: server and worker; `arguments`: texts and paths;
  `check`: what a run would say of a source;
  `output`: tables and JSON.
- `supervisor`: server and worker kept running by one process; `temporary_server`: a server for the
  length of a command; `server`: what either starts, Prefect's behind a fence.
- `deployments`: what the server is to run; `resume`: a flow run executed again; `doctor`: checks.
"""
