"""Schemathesis draws names that nobody has made: every second one becomes a name that is there, so that what lies
behind a name is tried too. Which one is decided by what was drawn: the same seed asks the same."""

import schemathesis

KNOWN = [
    ("/v1/streams/{name}", "name", "lines"),
    ("/v1/views/{name}", "name", "word_counts"),
    ("/v1/pipelines/{name}", "name", "words"),
    ("/v1/dead/{stage}", "stage", "words.word_counts"),
    ("/page/{name}", "name", "main.js"),
]


@schemathesis.hook
def map_path_parameters(context, drawn):
    for path, parameter, name in KNOWN:
        if drawn and context.operation.path.startswith(path) and parameter in drawn:
            if len(str(drawn[parameter])) % 2 == 1:
                return {**drawn, parameter: name}
    return drawn
