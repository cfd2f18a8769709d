#include "cli/drift.hpp"

#include <fmt/format.h>

#include "cli/command.hpp"

namespace ripcord::cli {
namespace {

Millis duration(const std::string& text, const char* option) {
  auto d = parse_duration(text);
  if (!d) throw Error(fmt::format("{}: '{}' is not a duration", option, escape_terminal(text)), "write 30s, 5m or 1h30m", Exit::usage);
  return *d;
}

std::string date(const std::string& text) {
  bool good = text.size() == 10;
  for (std::size_t i = 0; good && i < text.size(); ++i) good = i == 4 || i == 7 ? text[i] == '-' : text[i] >= '0' && text[i] <= '9';
  try {
    if (good) parse_utc(text + "T00:00:00.000Z");
  } catch (const Error&) {
    good = false;
  }
  if (!good) throw Error(fmt::format("--until: '{}' is not a day", escape_terminal(text)), "write it as 2027-01-31", Exit::usage);
  return text;
}

class Drift : public Command {
 public:
  void declare(Arguments& a) override {
    a.positionals("ACTION", words_, "none: scan; repair [ID|HOST...]: bring them back; accept ID...: wanted until --until");
    a.value("--limit", options_.limit, "SELECTOR", "only these hosts: a selector, or names (web-1,web-2)");
    a.value("--unit", options_.unit, "UNIT", "only this unit; else every one that the ledger knows");
    a.flag("--full", options_.manners.full, "read and hash every byte; else only files that the file system says have changed");
    a.flag("--diff", options_.diff, "show how texts differ, secrets masked by the host");
    a.flag("--new", options_.only_new, "only what was not there before");
    a.flag("--all", options_.show_all, "also what is known, in progress, or does not persist yet");
    a.value("--persist", persist_, "K/N", "alert when it was there in K of the last N scans (else the fleet file's, else 1/1)");
    a.value("--splay", splay_, "DURATION", "wait a random part of this first, so that many machines do not begin at once");
    a.value("--textfile", textfile_, "FILE", "also write metrics there for node_exporter");
    a.value("--max-rate", max_rate_, "SIZE", "read at most so much a second on each host, for example 20MiB");
    a.value("--threads", threads_, "N", "threads that hash on a host (else as it has processors, at most 8)");
    a.flag("--normal-priority", normal_, "without nice 19 and idle I/O on the hosts");
    a.value("--within", within_, "DURATION", "a host that is not done by then counts as unreachable (else 10m, --full 1h)");
    a.value("--until", until_, "DATE", "accept: that day included");
    a.value("-m,--message", message_, "WHY", "accept, repair: why; goes into the ledger");
    confirmation_.declare(a, true);
  }

  Exit run(Context& c) override {
    if (!words_.empty()) return act(c);
    if (until_) throw Error("--until belongs to `drift accept`", {}, Exit::usage);
    read_options();
    if (splay_) wait_splay(c, duration(*splay_, "--splay"));
    DriftLock lock(c);
    auto scan = scan_for_drift(c, options_);
    if (options_.diff) add_diffs(c, scan);
    if (textfile_) write_textfile(*textfile_, drift_metrics(c.fleet().name, scan));
    if (c.special_format != "nagios") {
      report_drift(c, scan, options_);
      return scan.exit;
    }
    int code = 0;
    c.out().print(nagios_line(scan, code));
    return static_cast<Exit>(code);
  }

 private:
  Exit act(Context& c) {
    if (words_[0] == "repair") {
      read_options();
      return repair_drift(c, options_, {words_.begin() + 1, words_.end()}, confirmation_, message_.value_or("drift repair"));
    }
    if (words_[0] != "accept") {
      auto near = did_you_mean(words_[0], {"accept", "repair"});
      throw Error(fmt::format("drift has no action '{}'{}", escape_terminal(words_[0]), near ? fmt::format(", did you mean '{}'?", *near) : ""),
                  "`ripcord help drift` lists them", Exit::usage);
    }
    if (words_.size() < 2 || !until_ || !message_ || message_->empty())
      throw Error("drift accept needs the ids of findings, --until DATE and -m WHY", "somebody will ask in half a year", Exit::usage);
    return accept_drift(c, {words_.begin() + 1, words_.end()}, date(*until_), *message_);
  }

  void read_options() {
    auto& m = options_.manners;
    m.low_priority = !normal_;
    m.within = within_ ? duration(*within_, "--within") : m.full ? Millis(3600000) : Millis(600000);
    if (max_rate_) {
      auto rate = parse_size(*max_rate_);
      if (!rate || *rate == 0) throw Error(fmt::format("--max-rate: '{}' is not a size", escape_terminal(*max_rate_)), "write 512KiB or 20MiB", Exit::usage);
      m.max_rate = *rate;
    }
    if (threads_) {
      auto n = threads_->size() <= 2 && threads_->find_first_not_of("0123456789") == std::string::npos && !threads_->empty() ? std::stoi(*threads_) : 0;
      if (n < 1 || n > 64) throw Error(fmt::format("--threads: '{}' is not a number from 1 to 64", escape_terminal(*threads_)), {}, Exit::usage);
      m.threads = n;
    }
    if (persist_) options_.persist = Persistence::parse(*persist_);
  }

  static void wait_splay(Context& c, Millis most) {
    auto part = std::stoull(random_hex(6), nullptr, 16) % static_cast<std::uint64_t>(most.count() + 1);
    c.wait(sleep_until(c.clock(), c.clock().elapsed() + Millis(static_cast<std::int64_t>(part))));
  }

  std::vector<std::string> words_;
  DriftOptions options_;
  std::optional<std::string> persist_, splay_, textfile_, max_rate_, threads_, within_, until_, message_;
  Confirmation confirmation_;
  bool normal_ = false;
};

}  // namespace

std::unique_ptr<Command> make_drift() { return std::make_unique<Drift>(); }

}  // namespace ripcord::cli
