"""The page in a real browser, on a real Kafka and a real Cassandra: what somebody does with it, and what it
says when Cassandra stops. Started by `dev/test-page`.

    page.py URL API_PORT SERVICES    the page, the port that the pipeline's API has, the script `dev/services`
"""

import json
import pathlib
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect, sync_playwright

URL, API_PORT, SERVICES = sys.argv[1], int(sys.argv[2]), sys.argv[3]
PIPELINE = "numbers"
RECORDS = [
    {"id": "a", "n": 1, "text": "plain"},
    {"id": "b", "n": 2, "text": "<img src=x onerror=\"document.title='owned'\">"},
    {"id": "c", "n": "no number", "text": "</script><script>document.title='owned'</script>"},
]
SECONDS = 1000
expect.set_options(timeout=60 * SECONDS)
SHOTS = pathlib.Path(sys.argv[4]) if len(sys.argv) > 4 else None


class Api(BaseHTTPRequestHandler):
    """Answers with the records."""

    def do_GET(self):
        body = json.dumps(RECORDS).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def visit(page: Page, path: str = ""):
    page.goto(f"{URL}/pipelines/{PIPELINE}{path}")


def shot(page: Page, name: str):
    if SHOTS:
        page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def check_accessible(page: Page, name: str):
    found = Axe().run(page).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert not serious, f"{name}: {json.dumps(serious, indent=1)}"


def look_at_every_page(browser):
    for width, scheme in [(360, "light"), (768, "dark"), (1280, "light"), (1280, "dark"), (1920, "light")]:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = context.new_page()
        for path in ["", "/runs", "/records", "/table", "/dead-letters", "/charts"]:
            visit(page, path)
            expect(page.locator("#sentence")).to_be_visible()
            name = f"{path.strip('/') or 'overview'}-{width}-{scheme}"
            shot(page, name)
            check_accessible(page, name)
            is_wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
            assert not is_wide, f"{name} has to be scrolled sideways"
        context.close()


def trigger_and_watch(page: Page):
    visit(page)
    expect(page.locator("#sentence")).to_contain_text("Ready")
    shot(page, "never-run")
    page.get_by_role("button", name="Trigger").click()
    # Nothing is reloaded from here on.
    page.evaluate("window.isTheSame = true")
    expect(page.locator("#run-facts")).to_contain_text("success")
    expect(page.locator("#newest")).to_contain_text("plain")
    expect(page.locator("#graph")).to_contain_text("real")
    assert page.evaluate("window.isTheSame")
    page.locator("#run-facts a").first.click()
    expect(page.locator("#run")).to_contain_text("fetch: 3 read, 2 passed, 0 filtered, 1 dead, 2 written")


def open_a_record(page: Page):
    visit(page, "/records")
    record = page.locator("details.record").filter(has_text="onerror")
    record.locator("summary").click()
    expect(record.locator("pre")).to_contain_text('"n": 2')
    visit(page, "/table")
    page.get_by_label("is").fill("a")
    page.get_by_role("button", name="Look up").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("plain")


def settle_a_dead_letter(page: Page):
    visit(page, "/dead-letters")
    letter = page.locator(".letter")
    expect(letter).to_have_count(1)
    letter.locator("summary").click()
    expect(letter.locator("pre")).to_contain_text("no number")
    page.get_by_role("button", name="Replay the chosen").click()
    expect(page.locator("h1")).to_contain_text("No dead letter was chosen")
    page.go_back()
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Replay the chosen").click()
    expect(page.locator(".done")).to_contain_text("0 replayed. 1 died again.")
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Purge the chosen").click()
    expect(page.locator(".done")).to_contain_text("1 purged.")
    expect(page.locator(".letter")).to_have_count(0)


def pause_by_keyboard(page: Page):
    visit(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.get_by_role("button", name="Pause the schedule").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#run-facts")).to_contain_text("paused")
    page.get_by_role("button", name="Go on with the schedule").click()
    expect(page.locator("#run-facts")).not_to_contain_text("paused")


def stop_cassandra(page: Page):
    visit(page)
    subprocess.run([SERVICES, "pause", "cassandra"], check=True)
    try:
        page.get_by_role("button", name="Trigger").click()
        sentence = page.locator("#sentence")
        expect(sentence).to_contain_text(re.compile("Stopped since .*Cassandra.*[Nn]othing is lost"), timeout=90 * SECONDS)
        expect(page.locator(".edge.bad")).to_contain_text("blocked")
        shot(page, "cassandra-stopped")
        check_accessible(page, "cassandra-stopped")
    finally:
        subprocess.run([SERVICES, "resume", "cassandra"], check=True)
    expect(sentence).to_have_class(re.compile("calm|good"), timeout=90 * SECONDS)
    expect(sentence).not_to_contain_text("Stopped")


def main():
    api = ThreadingHTTPServer(("127.0.0.1", API_PORT), Api)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        said = []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        for step in [
            trigger_and_watch,
            open_a_record,
            settle_a_dead_letter,
            pause_by_keyboard,
            stop_cassandra,
            lambda _: look_at_every_page(browser),
        ]:
            step(page)
            assert page.title() != "owned", "what a record holds was run"
            print(f"{getattr(step, '__name__', 'step')} ok", flush=True)
        # A chosen nothing is answered with 400, which browsers note.
        said = [text for text in said if "400" not in text]
        assert not said, said
        browser.close()


def after_restart():
    """The page that was open while the server went away and came back."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        visit(page)
        page.evaluate("window.isTheSame = true")
        print("open", flush=True)
        expect(page.locator("[data-connection]")).to_be_visible()
        print("lost", flush=True)
        expect(page.locator("[data-connection]")).to_be_hidden()
        expect(page.locator("#sentence")).to_contain_text("Up to date")
        assert page.evaluate("window.isTheSame")
        print("found again", flush=True)
        browser.close()


if API_PORT:
    main()
else:
    after_restart()
