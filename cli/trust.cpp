// trust add: the key that a host shows is believed from now on, because a person has compared it. Fetched without logging in, recorded in
// the ledger, then written. A key that is known otherwise is never replaced without being asked to.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>

#include "cli/command.hpp"
#include "cli/links.hpp"
#include "core/base/files.hpp"
#include "core/net/host_key.hpp"
#include "core/net/known_hosts_file.hpp"

namespace ripcord::cli {
namespace {

constexpr Millis kLockWait{10000};

class Trust : public Command {
 public:
  void declare(Arguments& a) override {
    a.positional("ACTION", action_, "add");
    a.positional("HOST", host_, "the host, as the fleet file names it");
    a.value("--fingerprint", fingerprint_, "SHA256:…", "believe the key if this is its fingerprint; else a person is asked");
    a.flag("--replace", replace_, "also when known_hosts holds another key for it");
    a.value("-m,--message", why_, "WHY", "the reason; it goes into the ledger");
  }

  Exit run(Context& c) override {
    if (action_ != "add") throw Error(fmt::format("trust has no action '{}'", escape_terminal(action_)), "`ripcord trust add HOST`", Exit::usage);
    if (!host_) throw Error("HOST is missing", "`ripcord trust add HOST`", Exit::usage);
    if (fingerprint_ && !fingerprint_->starts_with("SHA256:"))
      throw Error(fmt::format("--fingerprint: '{}' does not begin with SHA256:", escape_terminal(*fingerprint_)), "as `ssh-keygen -lf` prints it", Exit::usage);
    if (fingerprint_)
      while (fingerprint_->ends_with('=')) fingerprint_->pop_back();
    const auto& host = find(c);
    if (c.fleet().link != Fleet::LinkKind::ssh) throw Error(fmt::format("fleet '{}' is local: its hosts have no keys", c.fleet().name), {}, Exit::refused);
    auto shown = c.wait(fetch_host_key(c.loop(), c.clock(), ssh_settings(c.fleet()), host.address));
    say(c, shown);
    if (fingerprint_ && *fingerprint_ != shown.fingerprint)
      throw Error(fmt::format("'{}' shows {} {}, and not {}", host.name, shown.type, shown.fingerprint, escape_terminal(*fingerprint_)),
                  "somebody may be in between, or the fingerprint is of another key of the host; nothing was changed", Exit::integrity);
    if (shown.verdict == HostKeyVerdict::known) return done(c, host, shown, "known already");
    if (shown.verdict == HostKeyVerdict::revoked)
      throw Error(fmt::format("'{}' shows a key that {}:{} revokes: {}", host.name, shown.known_file, shown.known_line, shown.fingerprint),
                  "nothing was changed; give the host a new key", Exit::integrity);
    const bool other = shown.verdict == HostKeyVerdict::changed;
    if (other && !replace_)
      throw Error(fmt::format("'{}' shows {} {}, and {}:{} holds {} for it", host.name, shown.type, shown.fingerprint, shown.known_file, shown.known_line, shown.known_fingerprint),
                  "somebody may be in between, or the host was installed again; nothing was changed. Compare it on the host itself, then --replace", Exit::integrity);
    agree(c, host, shown);
    write(c, host, shown);
    return done(c, host, shown, other ? "replaced" : "added");
  }

 private:
  const Host& find(Context& c) const {
    if (const auto* h = c.fleet().find(*host_)) return *h;
    std::vector<std::string> names;
    for (const auto& h : c.fleet().hosts) names.push_back(h.name);
    auto near = did_you_mean(*host_, names);
    throw Error(fmt::format("host '{}' is not in the fleet file{}", escape_terminal(*host_), near ? fmt::format(", did you mean '{}'?", *near) : ""),
                "nothing was changed", Exit::refused);
  }

  static void say(Context& c, const ShownHostKey& k) {
    c.out().note(fmt::format("{} shows {} {}", k.name, k.type, k.fingerprint));
    if (k.verdict != HostKeyVerdict::known && !k.known_file.empty())
      c.out().note(fmt::format("{}:{} holds {} {}", k.known_file, k.known_line, k.known_type, k.known_fingerprint));
    if (k.verdict != HostKeyVerdict::known)
      c.out().note(fmt::format("compare it on the host itself: ssh-keygen -lf /etc/ssh/ssh_host_{}_key.pub", k.type == "ssh-ed25519" ? "ed25519" : "ecdsa"));
  }

  void agree(Context& c, const Host& host, const ShownHostKey& k) const {
    if (fingerprint_) return;
    auto& out = c.out();
    if (!out.can_ask())
      throw Error(fmt::format("the key of '{}' is not confirmed, and there is no terminal to ask at", host.name),
                  fmt::format("compare it, then say --fingerprint {}; nothing was changed", k.fingerprint), Exit::refused);
    auto answer = out.ask(fmt::format("is {} the key of '{}'? [y/N] ", k.fingerprint, host.name));
    if (answer != "y" && answer != "Y" && answer != "yes") throw Error("not confirmed", "nothing was changed", Exit::refused);
  }

  // Two that add at the same time: the second reads what the first wrote.
  static Fd lock(Context& c) {
    auto path = c.fleet().folder + "/.ripcord/known_hosts.lock";
    make_dirs(parent_dir(path));
    Fd fd = open_file(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    for (auto until = c.clock().elapsed() + kLockWait; ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0;) {
      if (errno != EWOULDBLOCK) throw os_error("lock", path, errno);
      if (c.clock().elapsed() > until) throw Error("another ripcord has been changing known_hosts for ten seconds", "try again; nothing was changed", Exit::held);
      c.wait(sleep_until(c.clock(), c.clock().elapsed() + Millis(50)));
    }
    return fd;
  }

  // The fleet's own file. Where there is none yet it begins with what counted so far, because from then on nothing else does.
  std::string target(Context& c, const ShownHostKey& k, std::string& text) const {
    auto file = c.fleet().ssh.known_hosts.empty() ? c.fleet().folder + "/known_hosts" : c.fleet().ssh.known_hosts;
    for (int hops = 0; hops < 8; ++hops) {  // a link stays one
      auto to = read_link(file);
      if (!to) break;
      file = to->starts_with('/') ? *to : parent_dir(file) + "/" + *to;
    }
    if (auto there = read_file_if_exists(file)) return text = *there, file;
    for (const auto& old : k.files)
      if (auto known = read_file_if_exists(old); known && !known->empty()) {
        text += *known;
        if (!text.ends_with('\n')) text += '\n';
        c.out().note(fmt::format("{} begins with what counted until now, from {}", file, old));
      }
    return file;
  }

  void write(Context& c, const Host& host, const ShownHostKey& k) const {
    auto held = lock(c);
    std::string text;
    auto file = target(c, k, text);
    const bool other = k.verdict == HostKeyVerdict::changed;
    if (other && k.known_file != file && k.known_file != c.fleet().ssh.known_hosts)
      throw Error(fmt::format("the other key of '{}' is in {}, which is not the fleet's own known_hosts", host.name, k.known_file),
                  fmt::format("nothing was changed; take line {} out of it, then `{}`", k.known_line, c.command("trust add " + host.name)), Exit::refused);
    auto after = other ? with_other_host_key(text, k.known_line, k.name, k.line) : with_host_key(text, k.line);
    json::object body{{"kind", "trust.added"}, {"fleet", c.fleet().name}, {"host", host.name}, {"name", k.name}, {"type", k.type}, {"fingerprint", k.fingerprint},
                      {"file", file}, {"how", fingerprint_ ? "--fingerprint" : "confirmed at a terminal"}, {"why", why_}};
    if (other) body["replaces"] = k.known_fingerprint;
    std::vector<json::object> bodies;
    bodies.push_back(std::move(body));
    c.append(std::move(bodies));
    write_file_durable(file, after, 0644);
  }

  static Exit done(Context& c, const Host& host, const ShownHostKey& k, const char* what) {
    if (!c.out().text())
      c.out().print_json(json::object{{"kind", "trust.added"}, {"host", host.name}, {"name", k.name}, {"type", k.type}, {"fingerprint", k.fingerprint}, {"result", what}});
    else c.out().print(escape_terminal(fmt::format("{}: {} {}, {}", host.name, k.type, k.fingerprint, what)));
    return Exit::done;
  }

  std::string action_, why_;
  std::optional<std::string> host_, fingerprint_;
  bool replace_ = false;
};

}  // namespace

std::unique_ptr<Command> make_trust() { return std::make_unique<Trust>(); }

}  // namespace ripcord::cli
