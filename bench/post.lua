-- wrk: post usage records, each with a key of its own. Arguments: prefix of the keys, id of the
-- first user, how many users.
local body = '{"quantity":%d,"event":"%s","user_id":%d,"idempotency_key":"%s-%d"}'
local events = { "api_calls", "vm_uptime", "cpu_time", "data_storage" }
local prefix, first, users
local number = 0

function init(arguments)
  prefix, first, users = arguments[1], tonumber(arguments[2]), tonumber(arguments[3])
  wrk.method = "POST"
end

function request()
  number = number + 1
  local event, user = events[1 + number % 4], first + number % users
  return wrk.format(nil, nil, nil, body:format(1 + number % 20, event, user, prefix, number))
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT requests=%d seconds=%f p50=%.3f p99=%.3f failed=%d\n",
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, e.status + e.connect + e.read + e.write + e.timeout))
end
