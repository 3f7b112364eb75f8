//! Paces that a fleet keeps together, in Redis: one script, by Redis's clock in microseconds.

use std::time::Duration;

use ::redis::{Value, cmd, from_redis_value};

use super::RedisFleet;
use super::thread::on_store_thread;
use crate::credential::fleet::shared_pace::{ALIVE, PaceAnswer, PaceRequest, SharedPace};
use crate::credential::fleet::{StoreDown, StoreFuture};

/// `KEYS`: the time up to which the rate is used up, and who keeps the pace. `ARGV`: who asks,
/// how long a replica counts, interval, tolerance, longest wait, places, pause, how far ahead
/// the next place can be.
///
/// Where the number was lost, or cannot be, no burst is given: what left before is not known.
/// It cannot be where others wrote it, or a clock went back: so can a replica's last sign.
const TAKE: &str = "local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local function text(v) return string.format('%.0f', v) end
local alive, interval, tolerance = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local wait, places, pause = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local ahead = tonumber(ARGV[8])
redis.call('ZADD', KEYS[2], text(now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(now - alive))
redis.call('ZREMRANGEBYSCORE', KEYS[2], '(' .. text(now + alive), '+inf')
redis.call('PEXPIRE', KEYS[2], text(alive / 500))
local used = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
if not (used > 0 and used <= now + tolerance + ahead + interval) then used = now + tolerance end
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
            .arg(micros(request.pause))
            .arg(micros(request.ahead));
        let link = self.link.clone();
        Box::pin(async move {
            let shown = link.shown();
            let answer = on_store_thread(async move { link.call(&key, command).await }).await??;
            let read = read(answer);
            read.ok_or_else(|| StoreDown::new(format!("{shown} answered nonsense")))
        })
    }
}

/// What the script returned; `None` where it cannot have.
fn read(answer: Value) -> Option<PaceAnswer> {
    // As they come: into an unsigned number a negative one is wrapped.
    let numbers: Vec<i64> = from_redis_value(answer).ok()?;
    let numbers: Vec<u64> = numbers
        .into_iter()
        .map(|number| u64::try_from(number).ok())
        .collect::<Option<_>>()?;
    let [replicas, next, places @ ..] = &numbers[..] else {
        return None;
    };
    Some(PaceAnswer {
        replicas: u32::try_from(*replicas).ok()?,
        next: Duration::from_micros(*next),
        places: places.iter().copied().map(Duration::from_micros).collect(),
    })
}

fn micros(time: Duration) -> u64 {
    // A Lua number is exact below 2^53.
    u64::try_from(time.as_micros())
        .unwrap_or(u64::MAX)
        .min(1 << 50)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_number_is_nonsense() {
        let answer = |numbers: [i64; 3]| read(Value::Array(numbers.map(Value::Int).to_vec()));
        assert!(answer([1, 0, 5]).is_some());
        for numbers in [[-1, 0, 5], [1, -1, 5], [1, 0, -1], [1, 0, i64::MIN]] {
            assert_eq!(answer(numbers), None, "{numbers:?}");
        }
    }
}
