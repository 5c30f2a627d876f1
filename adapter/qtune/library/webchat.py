"""`llamafactory-cli webchat` with the arguments file named: the library's page, of which nothing leaves here.

By itself the page takes a script and fonts from elsewhere in the browser, the library leaves files of its web
board in the working directory, and the page's sliders do not know the generation arguments.
At the end of stdin it ends itself.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any

# In gradio's page: a script and two hints, none of which a page that is no frame of another one needs.
_ELSEWHERE = re.compile(r'<script\s+src="https?://[^>]*></script>|<link\s+rel="preconnect"[^>]*>')
_SLIDERS = ("max_new_tokens", "top_p", "temperature")
_CHOICES = ("skip_special_tokens", "enable_thinking")


def main() -> None:
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    from llamafactory.extras.misc import fix_proxy
    from llamafactory.webui import common, interface

    fix_proxy()
    _keep_to_this_machine()
    interface.create_chat_box = _as_configured(interface.create_chat_box)
    with tempfile.TemporaryDirectory(prefix="qtune-") as directory:
        common.DEFAULT_CACHE_DIR = directory
        page = interface.create_web_demo()
        page.stylesheets = []  # of Google's fonts
        page.queue().launch(share=False, inbrowser=False)  # where: GRADIO_SERVER_NAME, GRADIO_SERVER_PORT


def _end_with_stdin() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _keep_to_this_machine() -> None:
    from gradio import routes
    from jinja2 import BaseLoader

    environment = routes.templates.env
    source: BaseLoader = environment.loader

    class Local(BaseLoader):
        def get_source(self, environment: Any, template: str) -> Any:
            text, *rest = source.get_source(environment, template)
            return (_ELSEWHERE.sub("", text), *rest)

    environment.loader = Local()


def _as_configured(create: Callable[..., Any]) -> Callable[..., Any]:
    """The library's chat box, whose sliders begin at what the arguments say; they are what it goes by."""

    def created(engine: Any, *given: Any, **how: Any) -> Any:
        made = create(engine, *given, **how)
        elements, configured = made[-1], engine.chatter.engine.generating_args
        for name in (*_SLIDERS, *_CHOICES):
            value = configured.get(name)
            if value is None or name not in elements:
                continue
            elements[name].value = value
            if name in _SLIDERS:
                elements[name].minimum = min(elements[name].minimum, value)
                elements[name].maximum = max(elements[name].maximum, value)
        return made

    return created


if __name__ == "__main__":
    main()
