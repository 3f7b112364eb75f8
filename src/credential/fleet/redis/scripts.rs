//! The steps on a record, as Redis does them: each is one script and so one step for all.
//!
//! `KEYS[1]` is the record, a hash (`docs/fleet.md` lists its fields), and `KEYS[2]` the list
//! of the identities that its name has. Time is Redis's own, in milliseconds. The test suite
//! holds them to `steps.rs`.
//!
//! Anybody who may write to Redis may have written what they find. Numbers are read here alone,
//! and Redis does not undo what a script did before it failed, so that nothing in them may fail
//! for what a key holds.

/// What each of them begins with: `now`; `is_num` and `num`, a field as a number: decimal
/// digits up to a hundred years beyond Redis's clock, else it counts as none. The bound moves
/// on with the clock, so that there is always a next generation, and a clock that was wrong
/// by less, once, loses no record. `text`, a number as a field; `is_hash`, whether a key is what
/// headset writes there; `anew`, which deletes one that is not; `read`, the fields of the
/// record, where one that is longer than any of headset's counts as none, and as `foreign`.
macro_rules! script {
    ($text:literal) => {
        concat!(
            "local t = redis.call('TIME')\n",
            "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n",
            "local most = now + 3155760000000\n",
            "local foreign = 0\n",
            "local function is_num(v)\n",
            "  return v and #v <= 16 and string.match(v, '^%d+$') and tonumber(v) <= most\n",
            "end\n",
            "local function num(v)\n",
            "  if is_num(v) then return tonumber(v) end\n",
            "  return 0\n",
            "end\n",
            "local function text(v) return string.format('%.0f', v) end\n",
            "local function is_hash(key)\n",
            "  local kind = redis.call('TYPE', key).ok\n",
            "  return kind == 'hash' or kind == 'none'\n",
            "end\n",
            "local function anew(key)\n",
            "  if not is_hash(key) then redis.call('DEL', key) end\n",
            "end\n",
            "local function read(...)\n",
            "  local fields = {}\n",
            "  for i, name in ipairs({...}) do\n",
            "    local longest = 1024\n",
            "    if name == 's' or name == 'f' then longest = 1048576 end\n",
            "    fields[i] = false\n",
            "    if redis.call('HSTRLEN', KEYS[1], name) > longest then foreign = 1\n",
            "    else fields[i] = redis.call('HGET', KEYS[1], name) end\n",
            "  end\n",
            "  return fields\n",
            "end\n",
            $text
        )
    };
}

/// What there is. It writes nothing: a holder may read a replica of Redis. A lease of more
/// than an hour and a failure of more than a day are not headset's.
pub(super) const LOOK: &str = script!(
    "local h = {}
if is_hash(KEYS[1]) then h = read('g', 's', 'e', 'r', 'f', 'fu', 'fp', 'l', 'u')
else foreign = 1 end
if (h[1] and not is_num(h[1])) or (h[4] and not is_num(h[4])) then foreign = 1 end
local left = false
if h[3] and h[3] ~= '' then left = math.max(0, num(h[3]) - now) end
local failure, failed = false, num(h[6]) - now
if h[5] and failed > 0 and failed <= 86400000 then failure = {h[5], h[7] or '', failed} end
local lease, held = false, num(h[9]) - now
if h[8] and held > 0 and held <= 3600000 then lease = {h[8], held} end
local others = {}
if not is_hash(KEYS[2]) then foreign = 1
elseif num(h[1]) == 0 then
  for _, name in ipairs(redis.call('HKEYS', KEYS[2])) do
    if #name <= 64 and #others < 16 then others[#others + 1] = name end
  end
end
return {foreign, num(h[1]), h[2] or '', left, num(h[4]), failure, lease, others}"
);

/// The published generation and the highest rejected one; `KEYS[1]` is all that it needs.
pub(super) const MARKS: &str = script!(
    "if not is_hash(KEYS[1]) then return {0, 0} end
local h = read('g', 'r')
return {num(h[1]), num(h[2])}"
);

/// `ARGV`: token, life in ms, what the asker saw, the highest that it had, the fingerprint of
/// its secrets, whether it was forced, the longest lease that it believes. A time further ahead
/// than headset ever writes (that lease, a day after a failure) is from a clock that was set
/// back, or from somebody else: it holds nobody up.
pub(super) const LEASE: &str = script!(
    "anew(KEYS[1])
local h = read('g', 'n', 'p', 'u', 'fu', 'fc', 'fp')
local g = num(h[1])
if g > num(ARGV[3]) then return {'newer', 0, 0} end
local held, young, failed = num(h[4]) - now, num(h[3]) + 5000 - now, num(h[5]) - now
if held > 0 and held <= tonumber(ARGV[7]) then return {'held', held, 0} end
if ARGV[6] == '1' and g > 0 and young > 0 and young <= 5000 then return {'young', young, 0} end
if failed > 0 and failed <= 86400000 and h[7] == ARGV[5] then return {'failed', failed, 0} end
local x = math.max(now, num(h[2]) + 1, g + 1, num(ARGV[4]) + 1)
redis.call('HSET', KEYS[1], 'n', text(x), 'l', ARGV[1], 'u', text(now + tonumber(ARGV[2])))
if redis.call('PTTL', KEYS[1]) < 86400000 then redis.call('PEXPIRE', KEYS[1], 172800000) end
return {'granted', x, math.min(num(h[6]), 1000)}"
);

/// `ARGV`: token, generation, what is sealed, what is left in ms or nothing, the identity.
/// The list of identities is for messages alone: what is wrong with it fails no publication.
pub(super) const PUBLISH: &str = script!(
    "anew(KEYS[1])
local h = read('g', 'n', 'l', 'r')
local x = tonumber(ARGV[2])
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
  local left = math.min(tonumber(ARGV[4]), 3155760000000)
  e = text(now + left)
  keep = math.max(left + 86400000, 172800000)
end
redis.call('HSET', KEYS[1], 'g', text(x), 'n', text(math.max(x, num(h[2]))), 's', ARGV[3],
  'e', e, 'p', text(now))
redis.call('HDEL', KEYS[1], 'f', 'fu', 'fc', 'fp')
redis.call('PEXPIRE', KEYS[1], text(keep))
redis.call('PUBLISH', KEYS[1], text(x) .. ' ' .. text(r))
anew(KEYS[2])
redis.pcall('HSET', KEYS[2], ARGV[5], text(now))
if redis.call('PTTL', KEYS[2]) < keep then redis.pcall('PEXPIRE', KEYS[2], text(keep)) end
return 'accepted'"
);

/// `ARGV`: token, the failure sealed, the fingerprint of the secrets, the wait in ms.
pub(super) const FAIL: &str = script!(
    "anew(KEYS[1])
local h = read('l', 'fc')
if h[1] ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'l', 'u')
redis.call('HSET', KEYS[1], 'f', ARGV[2], 'fp', ARGV[3], 'fu', text(now + tonumber(ARGV[4])),
  'fc', text(math.min(num(h[2]), 1000) + 1))
return 1"
);

/// `ARGV`: the generation.
pub(super) const REJECT: &str = script!(
    "if not is_hash(KEYS[1]) then return 0 end
local h = read('g', 'r')
local x = tonumber(ARGV[1])
if x > num(h[1]) or x <= num(h[2]) then return 0 end
redis.call('HSET', KEYS[1], 'r', text(x))
redis.call('PUBLISH', KEYS[1], text(num(h[1])) .. ' ' .. text(x))
return 1"
);
