//! The steps on a record, as Redis does them: each is one script and so one step for all.
//!
//! `KEYS[1]` is the record, a hash (`docs/fleet.md` lists its fields), and `KEYS[2]` the list
//! of the identities that its name has. Time is Redis's own, in milliseconds. The test suite
//! holds them to `steps.rs`.

/// What each of them begins with: `now`, `num` (a field as a number, 0 where it is not there
/// or beyond [`MOST_GENERATION`](crate::credential::fleet::record::MOST_GENERATION), up to which
/// Lua's doubles count exactly: what somebody else wrote shall not stop publication)
/// and `text` (a number as a field).
macro_rules! script {
    ($text:literal) => {
        concat!(
            "local t = redis.call('TIME')\n",
            "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n",
            "local function num(v)\n",
            "  v = tonumber(v or '0') or 0\n",
            "  if v >= 0 and v < 4503599627370496 then return math.floor(v) end\n",
            "  return 0\n",
            "end\n",
            "local function text(v) return string.format('%.0f', v) end\n",
            $text
        )
    };
}

/// What there is.
pub(super) const LOOK: &str = script!(
    "local h = redis.call('HMGET', KEYS[1], 'g', 's', 'e', 'r', 'f', 'fu', 'fp', 'l', 'u')
local others = {}
if not h[1] then others = redis.call('HKEYS', KEYS[2]) end
return {now, h, others}"
);

/// `ARGV`: token, life in ms, what the asker saw, the highest that it had, the fingerprint of
/// its secrets, whether it was forced. A time further ahead than headset ever writes (an hour
/// of lease, a day after a failure) is from a clock that was set back, or from somebody else:
/// it holds nobody up.
pub(super) const LEASE: &str = script!(
    "local h = redis.call('HMGET', KEYS[1], 'g', 'n', 'p', 'u', 'fu', 'fc', 'fp')
local g = num(h[1])
if g > num(ARGV[3]) then return {'newer', 0, 0} end
local held, young, failed = num(h[4]) - now, num(h[3]) + 5000 - now, num(h[5]) - now
if held > 0 and held <= 3600000 then return {'held', held, 0} end
if ARGV[6] == '1' and g > 0 and young > 0 and young <= 5000 then return {'young', young, 0} end
if failed > 0 and failed <= 86400000 and h[7] == ARGV[5] then return {'failed', failed, 0} end
local x = math.max(now, num(h[2]) + 1, g + 1, num(ARGV[4]) + 1)
redis.call('HSET', KEYS[1], 'n', text(x), 'l', ARGV[1], 'u', text(now + num(ARGV[2])))
if redis.call('PTTL', KEYS[1]) < 86400000 then redis.call('PEXPIRE', KEYS[1], 172800000) end
return {'granted', x, num(h[6])}"
);

/// `ARGV`: token, generation, what is sealed, what is left in ms or nothing, the identity.
pub(super) const PUBLISH: &str = script!(
    "local h = redis.call('HMGET', KEYS[1], 'g', 'n', 'l', 'r')
local x = num(ARGV[2])
if h[3] == ARGV[1] then redis.call('HDEL', KEYS[1], 'l', 'u') end
if x <= num(h[1]) then return 'late' end
local r = num(h[4])
if r >= x or r == 0 then
  r = 0
  redis.call('HDEL', KEYS[1], 'r')
end
local e = ''
local keep = 315360000000
if ARGV[4] ~= '' then
  e = text(now + num(ARGV[4]))
  keep = math.max(num(ARGV[4]) + 86400000, 172800000)
end
redis.call('HSET', KEYS[1], 'g', text(x), 'n', text(math.max(x, num(h[2]))), 's', ARGV[3],
  'e', e, 'p', text(now))
redis.call('HDEL', KEYS[1], 'f', 'fu', 'fc', 'fp')
redis.call('PEXPIRE', KEYS[1], text(keep))
redis.call('HSET', KEYS[2], ARGV[5], text(now))
if redis.call('PTTL', KEYS[2]) < keep then redis.call('PEXPIRE', KEYS[2], text(keep)) end
redis.call('PUBLISH', KEYS[1], text(x) .. ' ' .. text(r))
return 'accepted'"
);

/// `ARGV`: token, the failure sealed, the fingerprint of the secrets, the wait in ms.
pub(super) const FAIL: &str = script!(
    "if redis.call('HGET', KEYS[1], 'l') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'l', 'u')
redis.call('HINCRBY', KEYS[1], 'fc', 1)
redis.call('HSET', KEYS[1], 'f', ARGV[2], 'fp', ARGV[3], 'fu', text(now + num(ARGV[4])))
return 1"
);

/// `ARGV`: the generation.
pub(super) const REJECT: &str = script!(
    "local h = redis.call('HMGET', KEYS[1], 'g', 'r')
local x = num(ARGV[1])
if x > num(h[1]) or x <= num(h[2]) then return 0 end
redis.call('HSET', KEYS[1], 'r', text(x))
redis.call('PUBLISH', KEYS[1], text(num(h[1])) .. ' ' .. text(x))
return 1"
);
