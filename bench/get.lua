-- wrk: get one of the records from 1 to a number, here and there. Argument: the number; without
-- it the path of the address itself.
local records
local number = 0

function init(arguments)
  records = tonumber(arguments[1])
end

function request()
  number = number + 1
  return wrk.format("GET", records and wrk.path .. (1 + number * 7919 % records))
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT requests=%d seconds=%f p50=%.3f p99=%.3f failed=%d\n",
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, e.status + e.connect + e.read + e.write + e.timeout))
end
