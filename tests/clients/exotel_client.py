"""An application that uses exotel as its documentation says. Arguments: base URL,
key, token. Prints one JSON line: how many calls it made and what it got."""

import json
import sys

from exotel import Exotel

url, key, token = sys.argv[1:]
client = Exotel(key, token, baseurl=url)

sms = client.sms("08039511111", "09876543210", "Your code is 1234 & 50% off")
assert sms.status_code == 200 and sms.json(), (sms.status_code, sms.text)
rang = client.call_number("09876543210", "08039511111", "09876543211")
assert rang.status_code == 200 and rang.json(), (rang.status_code, rang.text)

print(json.dumps({"calls": 2, "did": "an SMS sent, a call placed"}))
