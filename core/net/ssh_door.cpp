#include "core/net/ssh_door.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "core/base/ssh_wire.hpp"
#include "core/base/text.hpp"
#include "core/net/ssh_methods.hpp"
#include "core/net/ssh_socket.hpp"

namespace ripcord {
namespace {

std::string stamp_of(const std::vector<std::string>& files) {
  std::string stamp;
  for (const auto& f : files) {
    struct stat st {};
    if (::stat(f.c_str(), &st) == 0)
      stamp += fmt::format("{} {} {}.{};", st.st_ino, st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    else stamp += "absent;";
  }
  return stamp;
}

std::string lookup_name(const HostAddress& host, const SshHostSettings& to) {
  if (!to.host_key_alias.empty()) return to.host_key_alias;
  return to.hostname.empty() ? host.address : to.hostname;
}

}  // namespace

SshDoor::SshDoor(Loop& loop, Clock& clock, const SshSettings& settings, const std::string& config_file)
    : loop_(loop), clock_(clock), settings_(settings), keys_(loop, clock, settings.identity, settings.agent_socket),
      jumps_(loop, clock, JumpSettings{settings.config == "none" ? "none" : settings.config.empty() ? "" : config_file, settings.identity, settings.known_hosts}) {}

std::shared_ptr<const KnownHosts> SshDoor::known_hosts(const std::vector<std::string>& files) {
  auto& indexed = known_[files];
  auto stamp = stamp_of(files);
  if (!indexed.hosts || indexed.stamp != stamp) {
    indexed.hosts = std::make_shared<const KnownHosts>(KnownHosts::load(files));
    indexed.stamp = stamp;
  }
  return indexed.hosts;
}

Task<std::shared_ptr<SshSession>> SshDoor::connect(HostAddress host, SshHostSettings to, std::string jump) {
  Elapsed deadline = clock_.elapsed() + to.connect_timeout.value_or(settings_.timeouts.connect);
  std::shared_ptr<void> keep;
  if (jump.empty()) {
    Fd fd = co_await connect_tcp(loop_, clock_, host.name, to.hostname, to.port, deadline);
    auto session = std::make_shared<SshSession>(loop_, clock_, host.name, std::move(fd), keep);
    session->beat_every(settings_.heartbeat);
    co_return session;
  }
  auto stream = co_await jumps_.connect(host.name, jump, to.hostname, to.port, deadline);
  auto session = std::make_shared<SshSession>(loop_, clock_, host.name, std::move(stream.fd), stream.keep);
  session->beat_every(settings_.heartbeat);
  co_return session;
}

void SshDoor::check_host_key(const HostAddress& host, const SshHostSettings& to, const std::vector<const KnownKey*>& lines,
                             const std::vector<std::string>& files, const std::string& blob) const {
  auto judged = judge_host_key(lines, blob);
  auto type = ssh_key_type(blob), print = ssh_fingerprint(blob);
  int port = to.host_key_alias.empty() ? to.port : 22;
  std::string line = fmt::format("{} {} {}", known_hosts_name(lookup_name(host, to), port), type, base64(blob));
  std::string verify = fmt::format("compare it on the host itself: ssh-keygen -lf /etc/ssh/ssh_host_{}_key.pub",
                                   type == "ssh-ed25519" ? "ed25519" : "ecdsa");
  std::string place = files.empty() ? "known_hosts" : files.front();
  switch (judged.verdict) {
    case HostKeyVerdict::known: return;
    case HostKeyVerdict::revoked:
      throw LinkError(LinkFault::trust, "host_key_revoked",
                      fmt::format("'{}' shows a host key that {}:{} revokes: {} {}", host.name, judged.line->file, judged.line->line, type, print),
                      "whoever holds the revoked key may be answering; nothing was sent to it. Give the host a new key");
    case HostKeyVerdict::changed:
      throw LinkError(LinkFault::trust, "host_key_changed",
                      fmt::format("the host key of '{}' changed: {}:{} holds {} {}, the host shows {}", host.name, judged.line->file,
                                  judged.line->line, type, ssh_fingerprint(judged.line->blob), print),
                      fmt::format("somebody may be in between, or the host was installed again; nothing was sent to it. {}, and if it is right "
                                  "`ripcord trust add {} --replace`, or replace that line by: {}", verify, host.name, line));
    case HostKeyVerdict::unknown: break;
  }
  std::string others = judged.line ? fmt::format(" ({}:{} holds a key of another type, {})", judged.line->file, judged.line->line, judged.line->type) : "";
  throw LinkError(LinkFault::trust, "host_key_unknown", fmt::format("the host key of '{}' is not known{}: it shows {} {}", host.name, others, type, print),
                  fmt::format("{}, then `ripcord trust add {}`, or add to {}: {}", verify, host.name, place, line));
}

Task<> SshDoor::log_in(std::shared_ptr<SshSession> session, HostAddress host, SshHostSettings to) {
  Elapsed deadline = clock_.elapsed() + settings_.timeouts.auth;
  auto keys = co_await keys_.keys_for(to, deadline);
  std::vector<std::string> tried;
  for (const auto& key : keys) {
    bool accepted = co_await session->authenticate(to.user, key, deadline);
    if (accepted) co_return;
    tried.push_back(fmt::format("{} ({} {})", key->source(), key->type(), ssh_fingerprint(key->blob())));
  }
  std::string methods = co_await session->methods(to.user, deadline);
  throw LinkError(LinkFault::unreachable, "auth_failed",
                  fmt::format("'{}' does not let '{}' in: it refused {}{}", host.name, to.user, join(tried, ", "),
                              methods.empty() ? "" : "; it would take " + methods),
                  fmt::format("add one of these keys to authorized_keys of '{}' there, and check AllowUsers, PermitRootLogin and the mode of its "
                              "home folder. It was not tried again", to.user));
}

Task<SshDoor::Shaken> SshDoor::shake_hands(HostAddress host, SshHostSettings to, LinkTimings* timings) {
  std::string jump = settings_.jump.empty() ? to.proxy_jump : settings_.jump == "none" ? std::string() : settings_.jump;
  if (jump.empty() && !to.proxy_command.empty())
    throw LinkError(LinkFault::ours, "proxy_command", fmt::format("ssh_config sets ProxyCommand for '{}', which is not supported", host.name),
                    "use ProxyJump");
  auto& strangers = strangers_[fmt::format("{} {}", to.hostname, to.port)];
  if (!strangers) strangers = std::make_unique<Turns>(static_cast<std::size_t>(std::max(1, settings_.max_handshakes)));
  auto stranger = co_await strangers->next();
  Shaken shaken;
  shaken.stranger.emplace(std::move(stranger));
  shaken.files = settings_.known_hosts.empty() ? to.known_hosts_files : std::vector<std::string>(1, settings_.known_hosts);
  shaken.known = known_hosts(shaken.files);
  shaken.lines = shaken.known->find(lookup_name(host, to), to.host_key_alias.empty() ? to.port : 22);
  std::vector<std::string> types;
  for (const auto* k : shaken.lines)
    if (!k->revoked) types.push_back(k->type);

  Elapsed begun = clock_.elapsed();
  shaken.session = co_await connect(host, to, jump);
  Elapsed connected = clock_.elapsed();
  timings->connect = connected - begun;
  co_await shaken.session->handshake(host_key_preference(types), connected + settings_.timeouts.handshake);
  timings->handshake = clock_.elapsed() - connected;
  co_return shaken;
}

Task<ShownHostKey> SshDoor::knock(HostAddress host, SshHostSettings to) {
  LinkTimings timings;
  Shaken shaken = co_await shake_hands(host, to, &timings);
  const auto blob = shaken.session->host_key();
  shaken.session->shut();
  auto judged = judge_host_key(shaken.lines, blob);
  ShownHostKey shown;
  shown.name = known_hosts_name(lookup_name(host, to), to.host_key_alias.empty() ? to.port : 22);
  shown.type = ssh_key_type(blob), shown.fingerprint = ssh_fingerprint(blob);
  shown.line = fmt::format("{} {} {}", shown.name, shown.type, base64(blob));
  shown.verdict = judged.verdict;
  shown.files = shaken.files;
  if (judged.line) {
    shown.known_file = judged.line->file, shown.known_line = judged.line->line, shown.known_type = judged.line->type;
    shown.known_fingerprint = ssh_fingerprint(judged.line->blob);
  }
  co_return shown;
}

Task<std::shared_ptr<SshSession>> SshDoor::enter(HostAddress host, SshHostSettings to, LinkTimings* timings) {
  Shaken shaken = co_await shake_hands(host, to, timings);
  check_host_key(host, to, shaken.lines, shaken.files, shaken.session->host_key());
  Elapsed begun = clock_.elapsed();
  co_await log_in(shaken.session, host, to);
  timings->auth = clock_.elapsed() - begun;
  co_return shaken.session;
}

}  // namespace ripcord
