"""How does the page look, and who shows it? Gradio, which is imported here alone."""

import os
import shutil
import signal
import tempfile
import threading
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from audiosr.app.work import FORMATS, PageResult, number_of, page_restorer, restore_on_page
from audiosr.errors import AudioSRError, UsageError
from audiosr.evaluation.report import render_page
from audiosr.restore.settings import load_profile

_TITLE = "AudioSR: restore a recording to 48 kHz"
_HINT = "Give a recording, then press Restore."
_FONTS = ("system-ui", "sans-serif")
_KEPT_SECONDS = 6 * 3600
"""How long an upload is kept; with the page all of them go."""

_CSS = """
:root { --card: var(--block-background-fill); --line: var(--border-color-primary);
  --ink: var(--body-text-color); --ground: var(--body-background-fill); --main: #0d9488; }
.gradio-container { max-width: 76rem !important; margin: 0 auto !important; }
.account { margin: 0; overflow-wrap: anywhere; }
.wrong { margin: 0; color: var(--error-text-color); overflow-wrap: anywhere; }
.restored { padding: 0 !important; color: var(--main) !important; font-weight: 600; }
"""


def show_page(models: Sequence[str], device: str, host: str, port: int | None) -> None:
    """Show the page until Ctrl-C or SIGTERM.

    Args:
        models: names or folders to choose from; the first is loaded at once.
        device: as torch names it, or "auto".
        host: address that is listened at.
        port: of that address; None takes the first free one from 7860 on.

    Raises:
        UsageError: gradio is not installed, or the port is taken.
        AudioSRError: the first model cannot be loaded.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with open_page(models, device, host=host, port=port) as address:
        print(f"the page is at {address} (Ctrl-C ends it)", flush=True)
        threading.Event().wait()


@contextmanager
def open_page(
    models: Sequence[str], device: str, *, host: str = "127.0.0.1", port: int | None = None
) -> Generator[str]:
    """The page, served by a thread, and its address; arguments as for `show_page`."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    gradio = _gradio()
    page_restorer(models[0], device)
    with tempfile.TemporaryDirectory(prefix="audiosr-app-") as scratch:
        os.environ["GRADIO_TEMP_DIR"] = str(Path(scratch, "uploads"))
        results = Path(scratch, "results")
        results.mkdir()
        page = _page(gradio, models, device, results)
        try:
            _launch(gradio, page, results, host, port)
            yield page.local_url
        finally:
            page.close(verbose=False)


def _launch(gradio: Any, page: Any, results: Path, host: str, port: int | None) -> None:
    try:
        page.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            ssr_mode=False,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            allowed_paths=[str(results)],
            theme=gradio.themes.Default(primary_hue="teal", font=_FONTS, font_mono=_FONTS),
            # As a whole: rules that gradio is given as css hold within its container alone.
            head=f"<style>{_CSS}{render_page('listen.css')}</style>"
            f"<script>{render_page('listen.js')}</script>",
        )
    except OSError as error:
        raise UsageError(f"port {port or '7860 to 7959'} is taken: choose another") from error


def _gradio() -> Any:
    try:
        return import_module("gradio")
    except ModuleNotFoundError as error:
        raise UsageError(
            "the page needs gradio: pip install 'audiosr-lightning[app]', in a clone make app"
        ) from error


def _page(gradio: Any, models: Sequence[str], device: str, results: Path) -> Any:
    """What is seen, and what Restore does; results go to folders of their own in `results`."""
    in_page = gradio.Progress()
    stopped: set[str] = set()

    def begin(visit: str) -> tuple[str, str]:
        stopped.discard(visit)
        return "", ""

    def restore(
        uploaded: str | None,
        recorded: str | None,
        model: str,
        cutoff_hz: str,
        follow_edge: bool,
        steps: str,
        seed: int,
        profile: str,
        form: str,
        earlier: Path | None,
        visit: str,
        progress: Any = in_page,
    ) -> tuple[str, str, Path | None]:
        _remove(earlier)

        def move(share: float, label: str) -> None:
            if visit in stopped:
                raise AudioSRError("stopped")
            progress(share, desc=label)

        source = uploaded or recorded
        if source is None:
            return _wrong(_HINT), "", None
        given = {"cutoff_hz": number_of(cutoff_hz), "follow_edge": follow_edge, "seed": seed}
        given |= {"steps": number_of(steps)} if steps.strip() else {}
        folder = Path(tempfile.mkdtemp(dir=results))
        try:
            settings = load_profile(profile, **given)
            progress(0.0, desc="reading")
            result = restore_on_page(
                page_restorer(model, device),
                Path(source),
                folder,
                settings,
                form,
                move,
            )
        except (AudioSRError, OSError) as error:
            _remove(folder)
            return _wrong(str(error)), "", None
        except Exception as error:  # a fault of ours: the terminal has its traceback
            traceback.print_exc()
            _remove(folder)
            return _wrong(f"{type(error).__name__}: {error}"), "", None
        account = f'<p class="account">{escape(result.account)}</p>'
        warning = _wrong(result.warning) if result.warning else ""
        return account + warning, _shown(result), folder

    with gradio.Blocks(
        title=_TITLE, analytics_enabled=False, delete_cache=(600, _KEPT_SECONDS)
    ) as page:
        gradio.Markdown(
            f"# {_TITLE}\nWhat the recording holds is kept; what is missing above it is generated."
        )
        with gradio.Row():
            with gradio.Column(scale=2, min_width=320):
                with gradio.Tab("File"):
                    upload = gradio.File(label="Audio or video file", height=140)
                with gradio.Tab("Microphone"):
                    record = gradio.Audio(
                        label="Recording", sources=["microphone"], type="filepath"
                    )
                model = gradio.Dropdown(list(models), value=models[0], label="Model")
                cutoff = gradio.Textbox("", label="Cutoff in Hz", placeholder="measured")
                form = gradio.Radio(list(FORMATS), value=next(iter(FORMATS)), label="Download as")
                with gradio.Accordion("More", open=False):
                    follow = gradio.Checkbox(False, label="The edge moves within the recording")
                    steps = gradio.Textbox(
                        "", label="Steps", placeholder="as many as the model asks for"
                    )
                    seed = gradio.Number(0, label="Seed", precision=0)
                    profile = gradio.Radio(["paper", "released"], value="paper", label="Profile")
                with gradio.Row():
                    button = gradio.Button("Restore", variant="primary")
                    end = gradio.Button("Stop")
            with gradio.Column(scale=5, min_width=480):
                account = gradio.HTML(f'<p class="account">{_HINT}</p>', min_height=72)
                result = gradio.HTML()
        kept = gradio.State(None, delete_callback=_remove)
        visit = gradio.State(lambda: uuid4().hex)
        upload.upload(lambda: None, outputs=record)
        record.stop_recording(lambda: None, outputs=upload)
        end.click(stopped.add, visit, queue=False)
        cleared = button.click(begin, visit, [account, result], queue=False)
        cleared.then(
            restore,
            [upload, record, model, cutoff, follow, steps, seed, profile, form, kept, visit],
            [account, result, kept],
            concurrency_limit=1,
            show_progress_on=account,
        )
    return page


def _shown(result: PageResult) -> str:
    def address(path: Path) -> str:
        return f"gradio_api/file={quote(str(path))}"

    name = escape(result.after.name)
    link = f'<a class="restored" href="{address(result.after)}" download="{name}">'
    return f"{result.html(address)}{link}Download {name}</a>"


def _wrong(sentence: str) -> str:
    return f'<p class="wrong">{escape(sentence)}</p>'


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
