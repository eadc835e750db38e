"""What is known not to work yet, with reasons that docs/clients.md shows. A cell that passes has no place here."""

# Where the task can't be finished.
UNFINISHED = {}
# Where the task is finished, and the agent brings back no reasoning that the model signed.
WITHOUT_REASONING = {}


def reasons(table, client, column):
    return [why for why, where in table.items() if column.name in where.get(client.name, [])]
