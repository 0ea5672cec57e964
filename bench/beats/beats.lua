-- Beats of jobs by slug: CHECKS of them, MODE "create" for each once from START on, "random" for any.
local checks, create = tonumber(os.getenv("CHECKS")), os.getenv("MODE") == "create"
local path = "/ping/" .. os.getenv("PING_KEY") .. "/job-"
local next = tonumber(os.getenv("START") or 0)
function init() math.randomseed(os.time()) end
function request()
  if create then
    next = next % checks + 1
    return wrk.format("GET", path .. next .. "?create=1")
  end
  return wrk.format("POST", path .. math.random(checks), nil, "done\n")
end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("RESULT rps=%.0f requests=%d p50_ms=%.2f p99_ms=%.2f max_ms=%.1f not2xx=%d broken=%d\n",
    summary.requests / (summary.duration / 1e6), summary.requests, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
