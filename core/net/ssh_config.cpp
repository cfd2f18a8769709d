#include "core/net/ssh_config.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>

#include "core/base/files.hpp"
#include "core/base/json.hpp"
#include "core/base/text.hpp"
#include "core/net/child.hpp"

namespace ripcord {
namespace {

constexpr Millis kAskTimeout{10000};
constexpr std::size_t kAskAtOnce = 4;
const std::set<std::string, std::less<>> kKept = {"hostname", "user", "port", "identityfile", "identitiesonly", "identityagent",
                                                  "proxyjump", "proxycommand", "userknownhostsfile", "globalknownhostsfile",
                                                  "hostkeyalias", "connecttimeout"};

// Only the lines we use, so that the cache stays small.
std::string keep_used(std::string_view output) {
  std::string kept;
  for (const auto& line : split(output, '\n'))
    if (kKept.contains(std::string_view(line).substr(0, line.find(' ')))) kept += line + "\n";
  return kept;
}

// %-tokens and ~ of a path in ssh_config(5). An unknown token stays as it is; the file will not be found and named.
std::string expand_path(std::string_view path, const SshHostSettings& s, const HostAddress& host) {
  std::string out;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] != '%' || i + 1 == path.size()) {
      out.push_back(path[i]);
      continue;
    }
    switch (path[++i]) {
      case '%': out += '%'; break;
      case 'd': out += home_folder(); break;
      case 'h': out += s.hostname; break;
      case 'n': out += host.address; break;
      case 'k': out += s.host_key_alias.empty() ? host.address : s.host_key_alias; break;
      case 'p': out += std::to_string(s.port); break;
      case 'r': out += s.user; break;
      case 'u': out += login_name(); break;
      case 'i': out += std::to_string(::getuid()); break;
      default: out += {'%', path[i]};
    }
  }
  return expand_tilde(out);
}

int to_int(std::string_view text, int fallback) {
  int value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() ? value : fallback;
}

}  // namespace

std::string home_folder() {
  if (const char* home = std::getenv("HOME"); home && *home) return home;
  const passwd* entry = ::getpwuid(::getuid());
  return entry ? entry->pw_dir : "/";
}

std::string login_name() {
  const passwd* entry = ::getpwuid(::geteuid());
  return entry ? entry->pw_name : std::to_string(::geteuid());
}

std::string expand_tilde(std::string_view path) {
  if (path == "~" || path.starts_with("~/")) return home_folder() + std::string(path.substr(1));
  return std::string(path);
}

SshHostSettings parse_ssh_g(std::string_view output, const HostAddress& host) {
  SshHostSettings s;
  std::vector<std::string> identities, known;
  for (const auto& line : split(output, '\n')) {
    auto space = line.find(' ');
    if (space == std::string::npos) continue;
    std::string key = line.substr(0, space), value = line.substr(space + 1);
    bool none = value == "none";
    if (key == "hostname") s.hostname = value;
    else if (key == "user") s.user = value;
    else if (key == "port") s.port = to_int(value, 22);
    else if (key == "identityfile" && !none) identities.push_back(value);
    else if (key == "identitiesonly") s.identities_only = value == "yes";
    else if (key == "identityagent" && value != "SSH_AUTH_SOCK") s.identity_agent = value;
    else if (key == "proxyjump" && !none) s.proxy_jump = value;
    else if (key == "proxycommand" && !none) s.proxy_command = value;
    else if (key == "hostkeyalias" && !none) s.host_key_alias = value;
    else if (key == "connecttimeout" && to_int(value, 0) > 0) s.connect_timeout = Millis(to_int(value, 0) * 1000);
    else if ((key == "userknownhostsfile" || key == "globalknownhostsfile") && !none)
      for (const auto& word : split(value, ' ')) known.push_back(word);
  }
  for (const auto& path : identities) s.identity_files.push_back(expand_path(path, s, host));
  for (const auto& path : known) s.known_hosts_files.push_back(expand_path(path, s, host));
  if (s.identity_agent.starts_with('$')) {
    const char* named = std::getenv(s.identity_agent.c_str() + 1);
    s.identity_agent = named ? named : "none";
  } else if (!s.identity_agent.empty() && s.identity_agent != "none") {
    s.identity_agent = expand_path(s.identity_agent, s, host);
  }
  return s;
}

struct SshConfig::State {
  State(Loop& l, Clock& c) : loop(l), clock(c) {}
  Loop& loop;
  Clock& clock;
  std::string config;                       // "" when none is in use
  bool named = false;                       // by the fleet, not ~/.ssh/config
  std::string cache_file;                   // "" when answers are not kept
  std::map<std::string, std::string> known; // question -> kept lines
  std::size_t asked = 0;

  void load_cache(const std::string& cache_dir) {
    std::vector<std::string> files{config};
    if (!named) files.push_back("/etc/ssh/ssh_config");
    auto digest = ssh_config_digest(files);
    if (!digest || cache_dir.empty()) return;
    cache_file = cache_dir + "/ssh-g-" + digest->hex().substr(0, 24) + ".jsonl";
    auto text = read_file_if_exists(cache_file);
    for (const auto& line : split(text.value_or(""), '\n')) try {
        if (line.empty()) continue;
        auto entry = parse_json_object(line, "ssh -G cache");
        known[get_string(entry, "ask")] = get_string(entry, "answer");
      } catch (const Error&) {  // a torn line of a run that was killed: ask again
      }
  }

  // Best effort: a cache that cannot be written costs time, nothing else.
  void keep(const std::string& question, const std::string& answer) {
    known[question] = answer;
    if (cache_file.empty()) return;
    try {
      make_dirs(parent_dir(cache_file));
      std::string line = json::serialize(json::object{{"ask", question}, {"answer", answer}}) + "\n";
      Fd fd = open_file(cache_file, O_WRONLY | O_CREAT | O_APPEND, 0600);
      write_all(fd.get(), line, cache_file);
    } catch (const Error&) {
      cache_file.clear();
    }
  }
};

SshConfig::SshConfig(Loop& loop, Clock& clock, std::string config, std::string cache_dir)
    : state_(std::make_shared<State>(loop, clock)), asking_(kAskAtOnce) {
  state_->named = !config.empty();
  if (config.empty()) config = home_folder() + "/.ssh/config";
  else if (config != "none") config = expand_tilde(config);
  if (config == "none" || (!state_->named && !exists(config))) return;
  state_->config = config;
  state_->load_cache(cache_dir);
}

SshConfig::~SshConfig() = default;
const std::string& SshConfig::config() const { return state_->config; }
std::size_t SshConfig::asked() const { return state_->asked; }

Task<SshHostSettings> SshConfig::resolve(HostAddress host) {
  auto state = state_;
  SshHostSettings settings;
  if (state->config.empty()) {
    settings.hostname = host.address;
    for (const char* name : {"id_ed25519", "id_ecdsa", "id_rsa"}) settings.identity_files.push_back(home_folder() + "/.ssh/" + name);
    settings.known_hosts_files = {home_folder() + "/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"};
  } else {
    std::string question = fmt::format("{} {} {}", host.address, host.port, host.user);
    if (!state->known.contains(question)) {
      auto turn = co_await asking_.next();
      std::vector<std::string> argv{"ssh", "-G"};
      if (state->named) argv.insert(argv.end(), {"-F", state->config});
      if (host.port != 0) argv.insert(argv.end(), {"-p", std::to_string(host.port)});
      if (!host.user.empty()) argv.insert(argv.end(), {"-l", host.user});
      argv.insert(argv.end(), {"--", host.address});
      ++state->asked;
      auto result = co_await run_child(state->loop, state->clock, argv, state->clock.elapsed() + kAskTimeout);
      if (result.timed_out || result.status != 0)
        throw Error(fmt::format("ssh -G does not say how to reach '{}' with the config '{}': {}", host.address, state->config,
                                result.timed_out ? "no answer within 10s" : escape_terminal(trim(result.err))),
                    fmt::format("see: ssh -G -F {} {}", shell_quote(state->config), shell_quote(host.address)));
      state->keep(question, keep_used(result.out));
    }
    settings = parse_ssh_g(state->known[question], host);
  }
  if (settings.hostname.empty()) settings.hostname = host.address;
  if (host.port != 0) settings.port = host.port;
  if (!host.user.empty()) settings.user = host.user;
  if (settings.user.empty()) settings.user = login_name();
  co_return settings;
}

}  // namespace ripcord
