#include "plans/files/window.hpp"

#include <cstdlib>

#include "core/base/error.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;

namespace {

WallTime at(const std::string& utc) { return parse_utc(utc + ":00.000Z"); }
std::string next(const Window& w, const std::string& utc) { return format_utc(w.next_open(at(utc))).substr(0, 16); }

}  // namespace

TEST_CASE("window: working hours in a zone, in summer and in winter") {
  auto w = working_hours("Europe/Berlin");
  CHECK(w.text() == "mon-fri 09:00-16:00 Europe/Berlin");
  CHECK(w.open(at("2026-07-15T07:00")));         // Wednesday 09:00 CEST
  CHECK_FALSE(w.open(at("2026-07-15T06:59")));
  CHECK(w.open(at("2026-07-15T13:59")));
  CHECK_FALSE(w.open(at("2026-07-15T14:00")));   // 16:00 is outside
  CHECK_FALSE(w.open(at("2026-01-14T07:30")));   // 08:30 CET
  CHECK(w.open(at("2026-01-14T08:00")));
  CHECK_FALSE(w.open(at("2026-07-18T09:00")));   // Saturday
  CHECK(next(w, "2026-07-15T10:00") == "2026-07-15T10:00");  // open: now
  CHECK(next(w, "2026-07-15T14:00") == "2026-07-16T07:00");
  CHECK(next(w, "2026-07-17T20:00") == "2026-07-20T07:00");  // Friday evening -> Monday
}

TEST_CASE("window: the clock goes forward and back") {
  // Berlin 2026: forward on March 29 at 01:00 UTC (02:00 -> 03:00), back on October 25 at 01:00 UTC (03:00 -> 02:00).
  Window gap{{0}, 2 * 60 + 30, 4 * 60, "Europe/Berlin"};  // begins within the hour that is not there
  CHECK(next(gap, "2026-03-28T12:00") == "2026-03-29T01:00");
  CHECK(gap.open(at("2026-03-29T01:59")));
  CHECK_FALSE(gap.open(at("2026-03-29T02:00")));  // 04:00 CEST

  Window swallowed{{0}, 2 * 60, 2 * 60 + 30, "Europe/Berlin"};  // lies wholly in it: not open that Sunday
  CHECK(next(swallowed, "2026-03-28T12:00") == "2026-04-05T00:00");

  Window twice{{0}, 2 * 60, 2 * 60 + 30, "Europe/Berlin"};  // 02:00-02:30 comes twice
  CHECK(twice.open(at("2026-10-25T00:10")));
  CHECK_FALSE(twice.open(at("2026-10-25T00:40")));
  CHECK(next(twice, "2026-10-25T00:40") == "2026-10-25T01:00");
  CHECK(twice.open(at("2026-10-25T01:10")));

  Window entered{{0}, 60, 2 * 60 + 30, "Europe/Berlin"};  // the clock is set back into the middle of it
  CHECK_FALSE(entered.open(at("2026-10-25T00:45")));      // 02:45 CEST
  CHECK(next(entered, "2026-10-25T00:45") == "2026-10-25T01:00");

  auto across = working_hours("Europe/Berlin");
  CHECK(next(across, "2026-03-27T15:00") == "2026-03-30T07:00");  // Friday in winter time -> Monday in summer time
}

TEST_CASE("window: over midnight it belongs to the day it began") {
  Window night{{5}, 22 * 60, 4 * 60, "UTC"};  // Friday night
  CHECK_FALSE(night.open(at("2026-07-17T03:00")));
  CHECK(night.open(at("2026-07-17T22:00")));
  CHECK(night.open(at("2026-07-18T03:59")));
  CHECK_FALSE(night.open(at("2026-07-18T04:00")));
  CHECK_FALSE(night.open(at("2026-07-18T22:30")));
  CHECK(next(night, "2026-07-18T04:00") == "2026-07-24T22:00");
  CHECK(night.text() == "fri 22:00-04:00 UTC");
}

TEST_CASE("window: whole days, words, JSON") {
  Window all{{0, 1, 2, 3, 4, 5, 6}, 0, 24 * 60, "Asia/Kolkata"};
  CHECK(all.open(at("2026-07-18T18:30")));
  CHECK(all.text() == "mon-sun 00:00-24:00 Asia/Kolkata");
  CHECK(Window{{1, 2, 4, 6}, 540, 600, "UTC"}.text() == "mon,tue,thu,sat 09:00-10:00 UTC");
  auto back = window_from_json(to_json(all));
  CHECK(back.text() == all.text());
  CHECK(back.days == all.days);
  auto broken = to_json(all);
  broken["to_minute"] = 1441;
  CHECK_THROWS_WITH(window_from_json(broken), "window: member 'to_minute' is not a minute of the day");
}

TEST_CASE("window: zones") {
  CHECK(known_timezone("UTC"));
  CHECK(known_timezone("Europe/Berlin"));
  CHECK_FALSE(known_timezone("Europe/Berlyn"));
  CHECK_FALSE(known_timezone("../../etc/passwd"));
  CHECK_FALSE(known_timezone(""));
  CHECK_THROWS_WITH((Window{{1}, 0, 60, "Mars/Olympus"}.open(at("2026-07-18T18:30"))), "unknown time zone 'Mars/Olympus'");
  const char* before = std::getenv("TZ");
  std::string kept = before ? before : "";
  ::setenv("TZ", "America/New_York", 1);
  CHECK(local_timezone() == "America/New_York");
  ::setenv("TZ", ":Asia/Tokyo", 1);
  CHECK(local_timezone() == "Asia/Tokyo");
  ::setenv("TZ", "", 1);
  CHECK(local_timezone() == "UTC");
  if (before) ::setenv("TZ", kept.c_str(), 1);
  else ::unsetenv("TZ");
}
