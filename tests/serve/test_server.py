"""`foveate serve`: what a client may do, and what is tried against it in vain."""

import http.client
import io
import json
import socket
import struct
import threading
import time
import zlib
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from untrained import write_untrained

from foveate.attention.attend import Attention
from foveate.errors import BadInput
from foveate.serve import server as serving
from foveate.serve.answers import answering
from foveate.serve.server import Server


def image(form="PNG", side=(40, 30)) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (side[1], side[0], 3), np.uint8)
    held = io.BytesIO()
    Image.fromarray(noise).save(held, form)
    return held.getvalue()


@contextmanager
def running(answer, facts=None, **more):
    server = Server(answer, facts or {"category": "disc", "run": "RUN"}, **more)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def attention(tmp_path_factory):
    """Of an untrained run, every gaze of which is reported."""
    held = Attention.load(write_untrained(tmp_path_factory.mktemp("serve") / "RUN", 6, 4))
    held.settings = replace(held.settings, min_probability=0.0, max_gazes=3)
    return held


@pytest.fixture(scope="module")
def server(attention):
    with running(answering(attention)) as served:
        yield served


def ask(server, method="GET", path="/", body=None, headers=None, timeout=60):
    """(status, headers, body) of one request."""
    client = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=timeout)
    client.request(method, path, body, headers or {})
    reply = client.getresponse()
    content = reply.read()
    client.close()
    return reply.status, dict(reply.getheaders()), content


def raw(server, *parts, pause=0.0, wait=10.0) -> bytes:
    """What comes back for bytes that are sent as they are, one part after the other."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=wait) as line:
        try:
            for part in parts:
                line.sendall(part)
                time.sleep(pause)
            return b"".join(iter(lambda: line.recv(65536), b""))
        except OSError:
            return b""


def test_an_image_gives_what_attend_gives_for_the_file(server, attention, tmp_path):
    for form in ("PNG", "JPEG"):
        (tmp_path / "image").write_bytes(image(form))
        expected = attention.attend(tmp_path / "image", progress=False)
        status, _, body = ask(server, "POST", "/attend", image(form))
        told = json.loads(body)
        assert status == 200 and (told["width"], told["height"]) == (40, 30) and expected
        assert [gaze["probability"] for gaze in told["gazes"]] == [found.probability for found in expected]
        assert [gaze["centre"] for gaze in told["gazes"]] == [found.u[2:].tolist() for found in expected]
        assert told["picture"].startswith("data:image/jpeg") and told["gazes"][0]["crop"].startswith("data:image/jpeg")


def test_a_crop_after_the_image_is_the_one_that_is_looked_for(server, attention, tmp_path):
    for name, content in (("image", image()), ("crop", image("JPEG", (24, 24)))):
        (tmp_path / name).write_bytes(content)
    expected = attention.attend(tmp_path / "image", like=str(tmp_path / "crop"), progress=False)
    crop = (tmp_path / "crop").read_bytes()
    status, _, body = ask(server, "POST", "/attend", image() + crop, {"Foveate-Like": str(len(crop))})
    assert status == 200 and expected
    assert [gaze["likeness"] for gaze in json.loads(body)["gazes"]] == [found.likeness for found in expected]
    status, _, body = ask(server, "POST", "/attend", image() + b"no image", {"Foveate-Like": "8"})
    assert status == 422 and json.loads(body)["error"] == "the one to look for: not an image of a known format"
    for wrong in (str(len(image()) + 1), "-1", "1e1", "none"):
        assert ask(server, "POST", "/attend", image(), {"Foveate-Like": wrong})[0] == 411, wrong


def test_no_path_leads_to_a_file(server):
    tried = [
        "/etc/passwd", "//etc/passwd", "/../../../../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
        "/page.html", "/server.py", "/attend", "/?file=/etc/passwd", "file:///etc/passwd", "/.%00/etc/passwd", "/RUN/",
    ]  # fmt: skip
    for path in tried:
        status, _, body = ask(server, path=path)
        assert (status, json.loads(body)) == (404, {"error": "no such page"}), path


def test_what_is_no_image_is_refused_in_words_that_name_no_file(server):
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    ppm = b"P6 99999 99999 255\n"
    for content in (b"", b"not an image", image()[:200], svg, b"%PDF-1.7", ppm, b"\xff\xd8\xff" + bytes(100)):
        status, _, body = ask(server, "POST", "/attend", content)
        words = json.loads(body)["error"]
        assert status == 422 and words.startswith("the image") and "/tmp" not in words and "foveate-" not in words


def bomb(side: int) -> bytes:
    """A PNG of some kilobytes whose header says side x side pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(server):
    began = time.monotonic()
    status, _, body = ask(server, "POST", "/attend", bomb(60_000))
    assert status == 422 and "60000 x 60000 pixels are more than the limit" in json.loads(body)["error"]
    assert time.monotonic() - began < 5


def test_a_body_above_the_limit_or_without_a_length_is_refused_unread(server):
    for length, status in ((str(serving.LARGEST + 1), 413), ("9" * 30, 411), ("-1", 411), ("1e3", 411), (None, 411)):
        line = b"" if length is None else f"Content-Length: {length}\r\n".encode()
        host = f"Host: 127.0.0.1:{server.server_port}\r\n".encode()
        reply = raw(server, b"POST /attend HTTP/1.1\r\n" + host + line + b"\r\n")
        assert reply.startswith(f"HTTP/1.0 {status} ".encode()), length


def test_other_pages_and_other_names_of_this_host_get_nothing(server):
    here = f"127.0.0.1:{server.server_port}"
    status, _, _ = ask(server, headers={"Host": "attacker.example"})
    assert status == 421  # a name that was bound to this address
    for origin in ("https://attacker.example", "null", f"http://{here}.attacker.example"):
        assert ask(server, "POST", "/attend", image(), {"Origin": origin})[0] == 403, origin
    assert ask(server, "POST", "/attend", image(), {"Origin": f"http://{here}"})[0] == 200
    assert ask(server, headers={"Host": f"localhost:{server.server_port}"})[0] == 200
    assert server.server_address[0] == "127.0.0.1"


def test_the_page_lets_nothing_be_fetched_framed_or_run_but_its_own(server):
    status, headers, body = ask(server)
    policy = headers["Content-Security-Policy"]
    assert status == 200 and "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "script-src 'sha256-" in policy and "'unsafe-inline'; script" in policy
    assert headers["X-Content-Type-Options"] == "nosniff" and "Python" not in str(headers)
    assert b"innerHTML" not in body and b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b"")


def test_markup_in_names_stays_text():
    facts = {"category": "</script><script>alert(1)</script>", "run": '"><img src=x onerror=alert(1)>'}
    with running(dict, facts) as server:
        body = ask(server)[2].decode()
    assert body.count("<script") == 2 and "<img src=x" not in body
    told = body.split('id="facts">')[1].split("</script>")[0]
    assert {name: json.loads(told)[name] for name in facts} == facts


def test_other_methods_and_broken_requests_get_a_short_answer(server):
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE", "<script>"):
        assert raw(server, f"{method} / HTTP/1.1\r\n\r\n".encode()).startswith(b"HTTP/1.0 501 "), method
    for request in (b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n"):
        reply = raw(server, request)
        assert b"aaaa" not in reply and (not reply or b"error" in reply)
    assert ask(server)[0] == 200


def test_a_slow_client_is_cut_off_and_others_are_served_meanwhile(monkeypatch, attention):
    monkeypatch.setattr(serving, "PATIENCE", 0.6)
    with running(answering(attention)) as server:
        host = f"Host: 127.0.0.1:{server.server_port}\r\n".encode()
        drips = [b"POST /attend HTTP/1.1\r\n" + host + b"Content-Length: 1000\r\n\r\n", *[b"x"] * 40]
        ends = []

        def drip(parts):
            began = time.monotonic()
            raw(server, *parts, pause=0.1)
            ends.append(time.monotonic() - began)

        threads = [threading.Thread(target=drip, args=(parts,)) for parts in (drips, [b"G"] * 40)]
        for thread in threads:
            thread.start()
        assert ask(server)[0] == 200
        for thread in threads:
            thread.join()
    assert max(ends) < 2.5, "the clock runs from the first byte, however many come after it"


def test_more_connections_than_seats_are_closed_and_seats_come_back(monkeypatch, attention):
    monkeypatch.setattr(serving, "MOST", 3)
    monkeypatch.setattr(serving, "PATIENCE", 1.0)
    with running(answering(attention)) as server:
        held = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(3)]
        time.sleep(0.2)
        assert raw(server, b"GET / HTTP/1.1\r\n\r\n", wait=3) == b""
        time.sleep(1.3)
        assert ask(server)[0] == 200
        for line in held:
            line.close()


def test_an_error_of_ours_closes_the_connection_and_the_server_lives():
    def broken(*_):
        raise ZeroDivisionError

    def refusing(*_):
        raise BadInput("the image is too\nsmall")

    with running(broken) as server:
        with pytest.raises(http.client.HTTPException):
            ask(server, "POST", "/attend", b"x")
        assert ask(server)[0] == 200
    with running(refusing) as server:
        assert json.loads(ask(server, "POST", "/attend", b"x")[2]) == {"error": "the image is too small"}


def test_images_are_attended_one_at_a_time():
    inside, most = [], []

    def slow(*_):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.1)
        inside.pop()
        return {}

    with running(slow) as server:
        threads = [threading.Thread(target=ask, args=(server, "POST", "/attend", b"x")) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == [1] * 4
