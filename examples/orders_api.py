"""The API that orders.yaml asks, to try it with: a token, pages of orders, and one order more that changes with
every run.

    python3 orders_api.py [PORT]    on 127.0.0.1, by default at port 7072
"""

import json
import sys
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TOKEN = "only-to-try-it-with"
STATES = ["new", "paid", "sent", "delivered"]
CUSTOMERS = [("Ayşe", "TR"), ("Liam", "IE"), ("Søren", "DK"), ("Chloé", "CA"), ("Милош", "RS")]
FIRST = datetime(2024, 5, 1, tzinfo=timezone.utc)


def order(number):
    name, country = CUSTOMERS[number % len(CUSTOMERS)]
    return {
        "id": f"o-{number:04}",
        "updated_at": said(FIRST + timedelta(hours=number)),
        "state": STATES[number % len(STATES)],
        "total": f"{number * 137 % 9000 / 100 + 1:.2f}",
        "customer": {"name": name, "country": country},
    }


def said(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Shop(BaseHTTPRequestHandler):
    orders = [order(number) for number in range(250)]
    changes = 0

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(200, {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})

    def do_GET(self):
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "who are you?"})
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        since, limit = query.get("updated_after", ""), int(query.get("limit", 100))
        begin = int(query.get("page_token", 0))
        found = sorted((o for o in self.orders if o["updated_at"] > since), key=lambda o: o["updated_at"])
        is_more = begin + limit < len(found)
        self.answer(
            200, {"data": found[begin : begin + limit], "meta": {"next": str(begin + limit) if is_more else None}}
        )
        if not is_more:
            self.change_one()

    def change_one(self):
        changed = self.orders[Shop.changes * 7 % len(self.orders)]
        Shop.changes += 1
        changed["updated_at"] = said(datetime.now(timezone.utc))
        changed["state"] = STATES[(STATES.index(changed["state"]) + 1) % len(STATES)]

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 7072), Shop)
    print(f"orders at http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
