"""How the project is started, watched and mended: commands, server, worker."""
