"""What the scripted model is told: the script language of the stand-in model."""

import json


def script(*steps: dict) -> str:
    """A user's text that makes the model take these steps, one a model call."""
    return "[[" + json.dumps({"steps": list(steps)}) + "]]"


def text(words: str, **more) -> dict:
    return {"text": words, **more}


def shell(command: str, **more) -> dict:
    return {"shell": command, **more}


# A command with a side effect that counts how often it was run in its workspace.
COUNT = "echo x >> count.txt; wc -l < count.txt"
