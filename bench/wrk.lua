-- Tells wrk what to send: requests from files, one after the other, each with a token of its own where there are tokens.
-- wrk -s wrk.lua URL -- FOLDER COUNT: FOLDER holds 0.head, 0.body, 1.head ... and perhaps tokens, one in a line.
local heads, bodies, tokens, sent = {}, {}, {}, 0

local function content(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

function init(words)
  for number = 1, tonumber(words[2]) do
    local name = words[1] .. "/" .. (number - 1)
    heads[number], bodies[number] = content(name .. ".head"), content(name .. ".body")
  end
  for line in (content(words[1] .. "/tokens") or ""):gmatch("[^\n]+") do
    tokens[#tokens + 1] = line
  end
  if #tokens == 0 then
    for number = 1, #heads do
      heads[number] = heads[number] .. "\r\n" .. bodies[number]
    end
  end
end

function request()
  local at = sent % #heads + 1
  sent = sent + 1
  if #tokens == 0 then return heads[at] end
  -- Where tokens run out, calls are refused, and counted as such.
  return heads[at] .. "Authorization: Bearer " .. tokens[math.min(sent, #tokens)] .. "\r\n\r\n" .. bodies[at]
end

function done(summary, latency, _)
  local failed = summary.errors
  io.write(string.format(
    '\n{"calls": %d, "microseconds": %d, "p50": %f, "p99": %f, "longest": %f, "odd": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    failed.status + failed.connect + failed.read + failed.write + failed.timeout
  ))
end
