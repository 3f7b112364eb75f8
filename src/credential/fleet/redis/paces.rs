//! Paces that a fleet keeps together, in Redis: one script, by Redis's clock in microseconds.

use std::time::Duration;

use ::redis::{cmd, from_redis_value};

use super::RedisFleet;
use super::thread::on_store_thread;
use crate::credential::fleet::shared_pace::{ALIVE, PaceAnswer, PaceRequest, SharedPace};
use crate::credential::fleet::{StoreDown, StoreFuture};

/// `KEYS`: the time up to which the rate is used up, and who keeps the pace. `ARGV`: who asks,
/// how long a replica counts, interval, tolerance, longest wait, places, pause.
///
/// Where the number was lost, or cannot be, no burst is given: what left before is not known.
const TAKE: &str = "local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local function text(v) return string.format('%.0f', v) end
local alive, interval, tolerance = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local wait, places, pause = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
redis.call('ZADD', KEYS[2], text(now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(now - alive))
redis.call('PEXPIRE', KEYS[2], text(alive / 500))
local used = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
if not (used > 0 and used < now + tolerance + wait + interval + 3600000000) then used = now + tolerance end
if pause > 0 then used = math.max(used, now + pause + tolerance) end
local answer = {redis.call('ZCARD', KEYS[2]), 0}
while #answer < places + 2 do
  local leaves = math.max(now, used - tolerance)
  if leaves - now > wait then break end
  used = math.max(leaves, used) + interval
  answer[#answer + 1] = math.floor(leaves - now)
end
answer[2] = math.floor(math.max(0, used - tolerance - now))
redis.call('SET', KEYS[1], text(used), 'PX', 86400000)
return answer";

impl SharedPace for RedisFleet {
    fn take<'a>(&'a self, name: &'a str, request: &'a PaceRequest) -> StoreFuture<'a, PaceAnswer> {
        let key = format!("{}:{{pace.{name}}}:used", self.prefix);
        let mut command = cmd("EVAL");
        command
            .arg(TAKE)
            .arg(2)
            .arg(&key)
            .arg(format!("{}:{{pace.{name}}}:replicas", self.prefix))
            .arg(&request.replica)
            .arg(micros(ALIVE))
            .arg(micros(request.interval).max(1))
            .arg(micros(request.tolerance))
            .arg(micros(request.wait))
            .arg(request.places)
            .arg(micros(request.pause));
        let link = self.link.clone();
        Box::pin(async move {
            let shown = link.shown();
            let answer = on_store_thread(async move { link.call(&key, command).await }).await??;
            let numbers = from_redis_value::<Vec<u64>>(answer).ok();
            let read = |numbers: Vec<u64>| {
                let [replicas, next, places @ ..] = &numbers[..] else {
                    return None;
                };
                Some(PaceAnswer {
                    replicas: u32::try_from(*replicas).ok()?,
                    next: Duration::from_micros(*next),
                    places: places.iter().copied().map(Duration::from_micros).collect(),
                })
            };
            let read = numbers.and_then(read);
            read.ok_or_else(|| StoreDown(format!("{shown} answered nonsense")))
        })
    }
}

fn micros(time: Duration) -> u64 {
    // A Lua number is exact below 2^53.
    u64::try_from(time.as_micros())
        .unwrap_or(u64::MAX)
        .min(1 << 50)
}
