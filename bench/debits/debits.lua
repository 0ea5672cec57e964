-- One debit per request, over ACCOUNTS accounts of service a and b. KEYS=1 sends an
-- Idempotency-Key with each; without it the edge mints one.
local accounts = tonumber(os.getenv("ACCOUNTS") or "1000")
local keyed = os.getenv("KEYS") == "1"
local auth = "Bearer " .. os.getenv("KEY")
local thread_count = 0
local failed = 0

function setup(thread)
    thread:set("number", thread_count)
    thread_count = thread_count + 1
end

function init()
    math.randomseed(os.time() * 10 + number)
    -- A run of its own per start, so that no key is ever sent twice.
    run = string.format("%x-%x-%d", os.time(), math.random(0, 2147483647), number)
    turn = 0
end

local headers = { ["Authorization"] = auth, ["Content-Type"] = "application/json" }

function request()
    local account = math.random(0, accounts - 1)
    local service = account % 2 == 0 and "a" or "b"
    if keyed then
        turn = turn + 1
        headers["Idempotency-Key"] = run .. "-" .. turn
    end
    local path = "/v1/" .. service .. "/accounts/acc-" .. account .. "/debit"
    return wrk.format("POST", path, headers, '{"amount":1,"currency":"EUR"}')
end

function done(summary, latency, requests)
    local seconds = summary.duration / 1e6
    local errors = summary.errors
    io.write(string.format(
        "RESULT rps=%.0f p50_ms=%.2f p99_ms=%.2f p999_ms=%.2f requests=%d not2xx=%d broken=%d\n",
        summary.requests / seconds, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
        latency:percentile(99.9) / 1000, summary.requests, errors.status,
        errors.connect + errors.read + errors.write + errors.timeout))
end
