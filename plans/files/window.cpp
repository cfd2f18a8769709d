#include "plans/files/window.hpp"

// Debian's libdate-tz is built to read the system's zone files; the header must be told the same.
#define USE_OS_TZDB 1
#define ONLY_C_LOCALE 1
#define HAS_STRING_VIEW 1
#include <date/tz.h>

#include <fmt/format.h>

#include <array>
#include <cstdlib>

#include "core/base/error.hpp"
#include "core/base/files.hpp"

namespace ripcord {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::array<const char*, 7> kDays{"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

// nullptr: UTC, which needs no zone files. Error when the zone is unknown: taking it for UTC would open the wrong hours.
const date::time_zone* zone_of(const std::string& name) {
  if (name == "UTC") return nullptr;
  try {
    return date::locate_zone(name);
  } catch (const std::exception&) {
    throw Error(fmt::format("unknown time zone '{}'", escape_terminal(name)),
                "names are as in /usr/share/zoneinfo, for example Europe/Berlin; the package is tzdata");
  }
}

date::sys_seconds sys(WallTime t) { return std::chrono::floor<seconds>(date::sys_time<Millis>(Millis(t.ms))); }
WallTime wall(date::sys_seconds t) { return {std::chrono::duration_cast<Millis>(t.time_since_epoch()).count()}; }

date::local_seconds local(const date::time_zone* zone, date::sys_seconds t) {
  return zone ? zone->to_local(t) : date::local_seconds(t.time_since_epoch());
}

int day_of_week(date::local_days day) { return static_cast<int>(date::weekday(day).c_encoding()); }

bool open_at(const Window& w, date::local_seconds t) {
  auto day = date::floor<date::days>(t);
  int minute = static_cast<int>(date::floor<minutes>(t - day).count());
  bool today = w.days.count(day_of_week(day)) > 0, yesterday = w.days.count(day_of_week(day - date::days(1))) > 0;
  if (w.from_minute < w.to_minute) return today && minute >= w.from_minute && minute < w.to_minute;
  return (today && minute >= w.from_minute) || (yesterday && minute < w.to_minute);  // over midnight: of the day it began
}

std::string hours(int minute) { return fmt::format("{:02}:{:02}", minute / 60, minute % 60); }

}  // namespace

bool Window::open(WallTime now) const { return open_at(*this, local(zone_of(timezone), sys(now))); }

WallTime Window::next_open(WallTime now) const {
  if (open(now)) return now;
  const auto* zone = zone_of(timezone);
  auto start = sys(now);
  std::optional<date::sys_seconds> best;
  auto consider = [&](date::sys_seconds t) {
    // Where the clock leaps over the beginning, the moment of the leap stands for it; open_at has the last word.
    if (t > start && (!best || t < *best) && open_at(*this, local(zone, t))) best = t;
  };
  auto today = date::floor<date::days>(local(zone, start));
  for (int d = -1; d <= 15; ++d) {
    auto opening = date::local_seconds(today + date::days(d)) + minutes(from_minute);
    if (!zone) {
      consider(date::sys_seconds(opening.time_since_epoch()));
      continue;
    }
    consider(zone->to_sys(opening, date::choose::earliest));
    consider(zone->to_sys(opening, date::choose::latest));
  }
  // The clock may also be set into the window.
  if (zone)
    if (auto change = zone->get_info(start).end; change < start + date::days(15)) consider(change);
  return best ? wall(*best) : now + Millis(15LL * 86400000);  // only for a window without days, which no decoder lets pass
}

std::string Window::text() const {
  std::string out;
  for (int i = 1; i <= 7; ++i) {  // Monday first, runs of three and more as first-last
    if (!days.count(i % 7)) continue;
    int last = i;
    while (last < 7 && days.count((last + 1) % 7)) ++last;
    out += (out.empty() ? "" : ",") + std::string(kDays[static_cast<std::size_t>(i % 7)]);
    if (last >= i + 2) {
      out += "-" + std::string(kDays[static_cast<std::size_t>(last % 7)]);
      i = last;
    }
  }
  return out + " " + hours(from_minute) + "-" + hours(to_minute) + " " + timezone;
}

Window working_hours(const std::string& timezone) { return Window{{1, 2, 3, 4, 5}, 9 * 60, 16 * 60, timezone}; }

bool known_timezone(const std::string& name) {
  try {
    zone_of(name);
    return true;
  } catch (const Error&) {
    return false;
  }
}

std::string local_timezone() {
  auto known = [](std::string name) { return !name.empty() && known_timezone(name) ? name : std::string(); };
  if (const char* tz = std::getenv("TZ")) {
    if (*tz == '\0') return "UTC";
    if (auto name = known(*tz == ':' ? tz + 1 : tz); !name.empty()) return name;
  }
  try {
    if (auto file = read_file_if_exists("/etc/timezone", 4096))
      if (auto name = known(std::string(trim(*file))); !name.empty()) return name;
  } catch (const Error&) {  // unreadable or odd: the next source tells
  }
  if (auto link = read_link("/etc/localtime")) {
    constexpr std::string_view kFolder = "zoneinfo/";
    if (auto at = link->rfind(kFolder); at != std::string::npos)
      if (auto name = known(link->substr(at + kFolder.size())); !name.empty()) return name;
  }
  return "UTC";
}

json::object to_json(const Window& w) {
  json::array days;
  for (int d : w.days) days.emplace_back(d);
  return {{"days", std::move(days)}, {"from_minute", w.from_minute}, {"to_minute", w.to_minute}, {"timezone", w.timezone}};
}

Window window_from_json(const json::object& o) {
  Window w;
  auto minute = [&](std::string_view key, int most) {
    auto value = get_int(o, key);
    if (value < 0 || value > most) throw Error(fmt::format("window: member '{}' is not a minute of the day", key));
    return static_cast<int>(value);
  };
  for (const auto& d : get_array(o, "days")) {
    if (!d.is_int64() || d.as_int64() < 0 || d.as_int64() > 6) throw Error("window: member 'days' holds something that is no day");
    w.days.insert(static_cast<int>(d.as_int64()));
  }
  w.from_minute = minute("from_minute", 1439);
  w.to_minute = minute("to_minute", 1440);
  w.timezone = get_string(o, "timezone");
  return w;
}

}  // namespace ripcord
