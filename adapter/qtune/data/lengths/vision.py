"""The tokens that a model of the Qwen-VL families gets in the place of pictures and videos.

Their number follows from the file's header, without decoding. Source: llamafactory/data/mm_plugin.py,
Qwen2VLPlugin, Qwen3VLPlugin, Qwen2OmniPlugin.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtune.data.lengths.patches import PatchGrid, patch_grid
from qtune.data.lengths.tokens import Tokenizer
from qtune.data.registrations import Registration
from qtune.data.rows.examples import Example, Message
from qtune.data.rows.media import PLACEHOLDERS
from qtune.data.rows.pictures import can_look, located, size, unwrapped
from qtune.data.sources import media_directory
from qtune.errors import QtuneError
from qtune.schema import argument
from qtune.schema.chat_templates import ChatTemplate, Element, MediaPlugin

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer

_VIDEO_TYPES = {
    "Qwen2VLPlugin": "Qwen2VLVideoProcessor",
    "Qwen2OmniPlugin": "Qwen2VLVideoProcessor",
    "Qwen3VLPlugin": "Qwen3VLVideoProcessor",
}
"""The processor of videos that belongs to each plugin whose tokens are worked out here."""

_SECOND = 1_000_000
"""In what a container's duration is counted (FFmpeg's AV_TIME_BASE)."""

_PLACEHOLDER = re.compile(f"({'|'.join(PLACEHOLDERS)})")


@dataclass(frozen=True, slots=True)
class _Clip:
    """A video as it is sampled: the size of its frames, how many there are, and their times in seconds."""

    width: int
    height: int
    times: list[float]

    @property
    def frames(self) -> int:
        """Made even (Qwen2VLPlugin._regularize_videos)."""
        return len(self.times) + len(self.times) % 2


class MediaTokens:
    """Puts a model's own tokens where a conversation has `<image>` and `<video>`.

    tokens: a chat template's `media`; grids: by `image` and `video`, as far as the data has them; directory:
    `media_dir`; video_fps, video_maxlen: frames a second, and frames at most, that are taken of a video.
    """

    def __init__(
        self,
        tokens: MediaPlugin,
        grids: Mapping[str, PatchGrid],
        directory: Path | None,
        video_fps: float,
        video_maxlen: int,
    ) -> None:
        self._tokens = tokens
        self._media = re.compile("|".join(re.escape(tokens.token(kind)) for kind in grids))
        self._timed = tokens.plugin == "Qwen3VLPlugin"
        self._grids = grids
        self._directory = directory
        self._fps = video_fps
        self._most_frames = video_maxlen

    def expanded(self, messages: Sequence[Message], example: Example) -> list[Message]:
        """The messages with the tokens of the example's pictures and videos (process_messages).

        Raises OSError for a file that cannot be read, and ValueError, IndexError or TypeError where the
        library would crash otherwise.
        """
        listed = (example.images, example.videos, example.audios)
        for placeholder, media in zip(PLACEHOLDERS, listed, strict=True):
            if sum(message.content.count(placeholder) for message in messages) != len(media):
                raise ValueError(f"{len(media)} for {placeholder}")
        pictures = map(self._picture, example.images)
        clips = [self._clip(video) for video in example.videos]
        videos = iter(clips)
        expanded = []
        for number, message in enumerate(messages):
            parts = _PLACEHOLDER.split(message.content)
            for at in range(1, len(parts), 2):
                if parts[at] == "<image>":
                    parts[at] = next(pictures)
                elif self._timed:
                    parts[at] = self._timed_frames(next(videos), clips[0], clips[number])
                else:
                    parts[at] = self._frames(next(videos))
            expanded.append(replace(message, content="".join(parts)))
        return expanded

    def head(self, pieces: Sequence[Element]) -> list[Element]:
        """As much of the pieces as reaches to the last token of a picture or video; nothing without one."""
        for at, piece in reversed(list(enumerate(pieces))):
            found = list(self._media.finditer(piece)) if isinstance(piece, str) else []
            if found:
                return [*pieces[:at], str(piece)[: found[-1].end()]]
        return []

    def _picture(self, entry: Any) -> str:
        return self._framed("image", self._grids["image"].tokens(*self._size(entry)))

    def _frames(self, clip: _Clip) -> str:
        grid = self._grids["video"]
        return self._framed("video", grid.tokens(clip.width, clip.height) * grid.groups(clip.frames))

    def _timed_frames(self, clip: _Clip, first: _Clip, timed: _Clip) -> str:
        """Each group of frames after its time, as many as `first` has, at the times of `timed`.

        Those are the row's first video and the one that has the number of the message: so the library does.
        """
        grid = self._grids["video"]
        framed = self._framed("video", grid.tokens(clip.width, clip.height, clip.frames))
        step = grid.merge_size
        times = timed.times + timed.times[-1:] * (-len(timed.times) % step)
        means = [(times[start] + times[start + step - 1]) / 2 for start in range(0, len(times), step)]
        return "".join(f"<{means[group]:.1f} seconds>{framed}" for group in range(grid.groups(first.frames)))

    def _framed(self, kind: str, tokens: int) -> str:
        own = self._tokens
        return own.vision_bos_token + own.token(kind) * tokens + own.vision_eos_token

    def _size(self, entry: Any) -> tuple[int, int]:
        media = unwrapped(entry)
        return size(media if isinstance(media, bytes) else self._located(media))

    def _located(self, path: str) -> str:
        return located(path, self._directory) or path

    def _clip(self, video: Any) -> _Clip:
        if isinstance(video, list):  # frames that were taken before
            return _Clip(*self._size(video[0]), [index / self._fps for index in range(len(video))])
        import av

        try:
            with av.open(self._located(video)) as container:
                [stream] = container.streams.video[:1]
                rate = float(stream.average_rate or 0)
                taken = _taken(container, stream, rate, self._fps, self._most_frames)
                times = [frame / rate for frame in taken]
                clip = _Clip(stream.width, stream.height, times)
        except (av.FFmpegError, ZeroDivisionError) as error:
            raise OSError(f"{video} cannot be read") from error
        return clip


def _taken(container: InputContainer, stream: VideoStream, rate: float, fps: float, most: int) -> list[int]:
    """The numbers of the frames that are taken of a video (MMPluginMixin._get_video_sample_indices).

    Of one whose header does not tell how many it has, as in Matroska, the first ones are; where it tells no
    duration either, as many as may be. Raises TypeError where the library does.
    """
    if stream.frames == 0:
        if container.duration is None:
            return list(range(most))
        return list(range(min(most, max(1, round(container.duration / _SECOND * rate)))))
    seconds = float(stream.duration * stream.time_base)  # type: ignore[operator]
    count = min(stream.frames, most, max(1, math.floor(seconds * fps)))
    return [int(index * (stream.frames - 1) / max(count - 1, 1)) for index in range(count)]


def media_tokens(
    train: Mapping[str, Any],
    template: ChatTemplate,
    tokenizer: Tokenizer,
    registration: Registration,
    root: Path,
) -> MediaTokens | None:
    """What a config's model makes of the media of a dataset; None where there are none, or at stage pt.

    train: LLaMA-Factory arguments; root: of the project. Raises QtuneError, with the reason, where that
    cannot be told from headers.
    """
    if not registration.has_media or train.get("stage") == "pt":  # which trains on text alone
        return None
    columns = registration.columns()
    if template.media is None:
        raise QtuneError(f"template {train.get('template')} takes no images, videos or audios")
    if columns.get("audios"):
        raise QtuneError("the tokens of audios are not counted")
    plugin = template.media.plugin
    if plugin not in _VIDEO_TYPES:
        raise QtuneError(f"the media of template {train.get('template')} are not counted")
    if not tokenizer.exact:
        raise QtuneError("the model's tokenizer is not on this machine")
    if not can_look():
        raise QtuneError("pictures need Pillow, which is not installed: pip install 'qtune[data]'")
    if columns.get("videos") and find_spec("av") is None:
        raise QtuneError("videos need PyAV, which is not installed: pip install av")
    types = {"image": "Qwen2VLImageProcessor", "video": _VIDEO_TYPES[plugin]}
    grids = {kind: patch_grid(kind, types[kind], train, root) for kind in types if columns.get(f"{kind}s")}
    return MediaTokens(
        template.media,
        grids,
        media_directory(train, root),
        argument(train, "video_fps"),
        argument(train, "video_maxlen"),
    )
