-- What wrk does: `wrk … -s report.lua URL DEPTH`. DEPTH requests are sent at once, and the result is one JSON object.
-- There is no global `request`: wrk then sends the same bytes again and again without calling Lua for each.

local first = wrk.init

function wrk.init(arguments)
    first(arguments)
    local batch = wrk.request():rep(tonumber(arguments[1]))
    wrk.request = function() return batch end
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '{"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"p999":%d,"errors":%d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
