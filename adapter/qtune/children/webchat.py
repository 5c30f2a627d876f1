"""`llamafactory-cli webchat` with the arguments file named; its page loads nothing from other servers.

By itself the page takes a script and fonts from elsewhere in the browser, the library leaves files of its web
board in the working directory, and the page has no labels and sliders that ignore the generation arguments.
At the end of stdin it ends itself.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from typing import Any

# In gradio's page: a script for frames, hints to a font server, and a link to what gradio then denies.
_ELSEWHERE = re.compile(r'<script\s+src="https?://[^>]*></script>|<link\s+rel="(preconnect|manifest)"[^>]*>')
_MOST_WAITING = 200
"""Questions; they are answered one at a time, and who asks another is told that the queue is full."""
_SLIDERS = ("max_new_tokens", "top_p", "temperature")


def main() -> None:
    from clients import drop_slow
    from protocol import end_with_stdin

    end_with_stdin()
    drop_slow()
    from llamafactory.extras.misc import fix_proxy
    from llamafactory.webui import common, interface

    fix_proxy()
    _keep_to_this_machine()
    interface.create_chat_box = _as_configured(interface.create_chat_box)
    with tempfile.TemporaryDirectory(prefix="qtune-") as directory:
        common.DEFAULT_CACHE_DIR = directory
        page = interface.create_web_demo()
        page.stylesheets = []  # of Google's fonts
        # where: GRADIO_SERVER_NAME, GRADIO_SERVER_PORT
        page.queue(max_size=_MOST_WAITING).launch(share=False, inbrowser=False, quiet=True)


def _keep_to_this_machine() -> None:
    """Take what would be loaded from elsewhere out of gradio's page."""
    from gradio import routes
    from jinja2 import BaseLoader

    environment = routes.templates.env
    source: Any = environment.loader

    class Local(BaseLoader):
        def get_source(self, environment: Any, template: str) -> Any:
            text, *rest = source.get_source(environment, template)
            return (_ELSEWHERE.sub("", text), *rest)

    environment.loader = Local()


def _as_configured(create: Callable[..., Any]) -> Callable[..., Any]:
    """The library's chat box, whose controls begin at what the arguments say: they are what it goes by.

    Its labels come when the page's language changes, and that begins at none so that it does.
    """

    def created(engine: Any, *given: Any, **how: Any) -> Any:
        made = create(engine, *given, **how)
        elements, loaded = made[-1], engine.chatter.engine
        for name in _SLIDERS:
            slider, value = elements[name], loaded.generating_args[name]
            slider.value = value
            slider.minimum, slider.maximum = min(slider.minimum, value), max(slider.maximum, value)
        elements["skip_special_tokens"].value = loaded.generating_args["skip_special_tokens"]
        elements["enable_thinking"].value = loaded.template.enable_thinking is not False
        engine.manager.get_elem_by_id("top.lang").value = None
        return made

    return created


if __name__ == "__main__":
    main()
