-- wrk's script: posts a JPEG with the key, each time as another file. Its report is a line of JSON.
-- wrk ... -s service.lua URL -- JPEG NONCE, with the key in GONOGO_KEY

local head, tail, nonce, number

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  local jpeg = file:read("*a")
  file:close()
  head, tail = jpeg:sub(1, 2) .. "\255\254\0\18", jpeg:sub(3)
  nonce, number = tonumber(arguments[2]), 0
  wrk.headers["Authorization"] = "Bearer " .. os.getenv("GONOGO_KEY")
  wrk.headers["Content-Type"] = "image/jpeg"
end

function request()
  number = number + 1
  return wrk.format("POST", nil, nil, head .. string.format("%06d%010d", nonce, number) .. tail)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"n_requests": %d, "seconds": %f, "p50_ms": %f, "p95_ms": %f, "p99_ms": %f, "most_ms": %f, ' ..
    '"n_errors": %d, "n_refused": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
