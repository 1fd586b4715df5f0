-- Buyers for wrk: each request is a new order, every tenth under an idempotency key of its own. The figures go to
-- standard output as one line of JSON, after wrk's own report.
local run, number = os.time(), 0

request = function()
  number = number + 1
  local headers = { ["Content-Type"] = "application/json" }
  if number % 10 == 0 then headers["Idempotency-Key"] = run .. "-" .. number end
  local body = string.format('{"amount": 19.99, "currency": "USD", "order_id": "%d-%d"}', run, number)
  return wrk.format("POST", nil, headers, body)
end

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "max_us": %d, "not_2xx": %d, "socket_errors": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
