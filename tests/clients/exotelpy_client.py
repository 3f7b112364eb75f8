"""An application that uses exotelpy as its documentation says. Arguments: base URL,
key, token. Prints one JSON line: how many calls it made and what it got."""

import json
import sys

from exotelpy import Exotel

url, key, token = sys.argv[1:]
client = Exotel(sid="acme", key=key, token=token, baseurl=url)

# One call of each of the methods and API versions that the client knows.
lists = client.get_bulk_lists(limit=2)
assert isinstance(lists, dict) and "response" in lists, lists
contacts = client.create_contacts(["+919876543210", "+919876543211"])
sids = [row["data"]["sid"] for row in contacts["response"]]
assert len(sids) == 2, contacts
phones = client.get_all_exophones()
assert isinstance(phones, dict) and phones, phones

print(json.dumps({"calls": 3, "did": f"{len(sids)} contacts made, lists and phones read"}))
