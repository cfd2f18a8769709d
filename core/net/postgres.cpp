#include "core/net/postgres.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <libpq-fe.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>

#include "core/base/text.hpp"

namespace ripcord {
namespace {

constexpr Millis kConnectWithin{5000};  // one host, unless connect_timeout says otherwise
constexpr std::array<const char*, 2> kSecrets{"password", "sslpassword"};

struct ResultEnd {
  void operator()(PGresult* r) const { ::PQclear(r); }
};
using Result = std::unique_ptr<PGresult, ResultEnd>;

std::string one_line(std::string_view text) {
  std::string out(trim(text));
  std::replace(out.begin(), out.end(), '\n', ' ');
  return escape_terminal(out);
}

int left_ms(Elapsed deadline) { return static_cast<int>(std::clamp<std::int64_t>((deadline - boot_now()).count(), 0, 3600000)); }

// What a look-up's thread and its waiter share. The thread is detached: a resolver that hangs must not hold up anybody.
struct NameLookup {
  std::mutex mutex;
  std::condition_variable ended;
  bool done = false;
  std::vector<std::string> addresses;
  int error = 0;
};

std::vector<std::string> addresses_of(const std::string& host, Elapsed deadline, std::string& failure) {
  in6_addr any{};
  if (::inet_pton(AF_INET, host.c_str(), &any) == 1 || ::inet_pton(AF_INET6, host.c_str(), &any) == 1) return {host};
  auto lookup = std::make_shared<NameLookup>();
  std::thread([lookup, host] {
    addrinfo hints{}, *list = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
    std::lock_guard lock(lookup->mutex);
    lookup->error = error;
    for (addrinfo* a = error == 0 ? list : nullptr; a; a = a->ai_next) {
      char text[INET6_ADDRSTRLEN] = {};
      if (::getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0) lookup->addresses.emplace_back(text);
    }
    if (list) ::freeaddrinfo(list);
    lookup->done = true;
    lookup->ended.notify_all();
  }).detach();
  std::unique_lock lock(lookup->mutex);
  if (!lookup->ended.wait_for(lock, Millis(left_ms(deadline)), [&] { return lookup->done; })) failure = "its name could not be looked up in time";
  else if (lookup->error != 0) failure = ::gai_strerror(lookup->error);
  return lookup->done ? lookup->addresses : std::vector<std::string>();
}

PgRows rows_of(const PGresult* r) {
  PgRows rows;
  int columns = ::PQnfields(r);
  for (int i = 0; i < ::PQntuples(r); ++i) {
    auto& row = rows.emplace_back();
    for (int c = 0; c < columns; ++c) row.emplace_back(::PQgetvalue(r, i, c), static_cast<std::size_t>(::PQgetlength(r, i, c)));
  }
  return rows;
}

}  // namespace

std::int64_t pg_int64(const std::string& binary) {
  if (binary.size() != 8) throw Error("the database answered with a number of another size");
  std::uint64_t n = 0;
  for (unsigned char c : binary) n = n << 8 | c;
  return static_cast<std::int64_t>(n);
}

PgAddress::PgAddress(const std::string& text) {
  char* why = nullptr;
  PQconninfoOption* options = ::PQconninfoParse(text.c_str(), &why);
  ::PQfreemem(why);  // may hold parts of a password
  if (!options)
    throw Error("the ledger's address is not a PostgreSQL connection string",
                "postgresql://USER@HOST:PORT/DATABASE, several hosts with commas; characters like @ : / % in a password are written as %40 %3A %2F %25, "
                "and it is better kept in ~/.pgpass", Exit::invalid_file);
  for (auto* o = options; o->keyword; ++o)
    if (o->val) settings_[o->keyword] = o->val;
  ::PQconninfoFree(options);
}

std::string PgAddress::shown() const {
  auto value = [this](const char* key) {
    auto found = settings_.find(key);
    return found == settings_.end() ? std::string() : found->second;
  };
  auto hosts = split(value("host").empty() ? value("hostaddr") : value("host"), ','), ports = split(value("port"), ',');
  std::vector<std::string> places;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    auto port = ports.size() == hosts.size() ? ports[i] : ports[0];
    places.push_back(hosts[i] + (port.empty() ? "" : ":" + port));
  }
  auto user = value("user");
  return masked(escape_terminal(fmt::format("postgresql://{}{}{}/{}", user, user.empty() ? "" : "@", join(places, ","), value("dbname"))));
}

std::string PgAddress::masked(std::string text) const {
  std::vector<std::string> secrets;
  for (const char* key : kSecrets)
    if (auto found = settings_.find(key); found != settings_.end()) secrets.push_back(found->second);
  if (const char* set = std::getenv("PGPASSWORD")) secrets.emplace_back(set);
  for (const auto& secret : secrets) {
    if (secret.empty()) continue;
    for (auto at = text.find(secret); at != std::string::npos; at = text.find(secret, at + 3)) text.replace(at, secret.size(), "***");
  }
  return text;
}

void PgConnection::close() {
  if (connection_) ::PQfinish(connection_);
  connection_ = nullptr;
}

void PgConnection::lost(const std::string& why) {
  auto text = address_.masked(one_line(why));
  close();
  throw PgLost(text);
}

void PgConnection::on_notice(void* self, const PGresult* notice) {
  const char* severity = ::PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
  const char* text = ::PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
  if (severity && std::string_view(severity) == "WARNING") static_cast<PgConnection*>(self)->warnings_.push_back(one_line(text ? text : ""));
}

bool PgConnection::wait(bool readable, bool writable, Elapsed deadline) const {
  pollfd p{::PQsocket(connection_), static_cast<short>((readable ? POLLIN : 0) | (writable ? POLLOUT : 0)), 0};
  while (true) {
    int left = left_ms(deadline);
    int n = left > 0 ? ::poll(&p, 1, left) : 0;
    if (n > 0) return true;
    if (n < 0 && errno == EINTR) continue;
    return false;
  }
}

std::vector<PgConnection::Target> PgConnection::targets(Elapsed deadline, std::vector<std::string>& failures) const {
  auto list = [this](const char* key) {
    auto found = address_.settings_.find(key);
    return found == address_.settings_.end() || found->second.empty() ? std::vector<std::string>() : split(found->second, ',');
  };
  auto hosts = list("host"), addresses = list("hostaddr"), ports = list("port");
  std::size_t count = std::max(hosts.size(), addresses.size());
  std::vector<Target> out;
  if (count == 0) out.push_back({"", "", ports.empty() ? "" : ports[0]});  // libpq's own default: a socket, or PGHOST
  for (std::size_t i = 0; i < count; ++i) {
    Target t{i < hosts.size() ? hosts[i] : "", i < addresses.size() ? addresses[i] : "", ports.size() == count ? ports[i] : ports.empty() ? "" : ports[0]};
    if (!t.address.empty() || t.host.empty() || t.host[0] == '/' || t.host[0] == '@') {
      out.push_back(t);
      continue;
    }
    std::string failure;
    for (const auto& address : addresses_of(t.host, std::min(deadline, boot_now() + kConnectWithin), failure)) {
      t.address = address;
      out.push_back(t);
    }
    if (!failure.empty()) failures.push_back(fmt::format("{}: {}", escape_terminal(t.host), failure));
  }
  return out;
}

std::string PgConnection::connect_to(const Target& target, Elapsed deadline) {
  std::map<std::string, std::string> settings{{"target_session_attrs", "read-write"}, {"fallback_application_name", "ripcord"},
                                              {"tcp_user_timeout", "10000"}, {"keepalives_idle", "5"}};
  for (const auto& [key, value] : address_.settings_) settings[key] = value;
  for (const char* key : {"host", "hostaddr", "port"}) settings.erase(key);
  if (!target.host.empty()) settings["host"] = target.host;
  if (!target.address.empty()) settings["hostaddr"] = target.address;
  if (!target.port.empty()) settings["port"] = target.port;
  settings["client_encoding"] = "UTF8";
  std::vector<const char*> keys, values;
  for (const auto& [key, value] : settings) keys.push_back(key.c_str()), values.push_back(value.c_str());
  keys.push_back(nullptr);
  values.push_back(nullptr);

  close();
  connection_ = ::PQconnectStartParams(keys.data(), values.data(), 0);
  if (!connection_) return "out of memory";
  ::PQsetNoticeReceiver(connection_, on_notice, this);
  for (auto next = PGRES_POLLING_WRITING; ::PQstatus(connection_) != CONNECTION_BAD;) {
    if (next != PGRES_POLLING_OK && !wait(next == PGRES_POLLING_READING, next == PGRES_POLLING_WRITING, deadline)) return "no answer in time";
    next = ::PQconnectPoll(connection_);
    if (next == PGRES_POLLING_OK) {
      ::PQsetnonblocking(connection_, 1);
      return "";
    }
    if (next == PGRES_POLLING_FAILED) break;
  }
  return one_line(::PQerrorMessage(connection_));
}

void PgConnection::open(Elapsed deadline) {
  Millis each = kConnectWithin;
  if (auto set = address_.settings_.find("connect_timeout"); set != address_.settings_.end())
    if (int seconds = std::atoi(set->second.c_str()); seconds > 0) each = Millis(std::max(2, seconds) * 1000);  // as libpq does
  std::vector<std::string> failures;
  for (const auto& target : targets(deadline, failures)) {
    auto why = connect_to(target, std::min(deadline, boot_now() + each));
    if (why.empty()) return;
    close();
    auto name = target.host.empty() ? target.address : target.host;
    bool named = why.find(name) != std::string::npos || name.empty();
    failures.push_back(named ? why : name + ": " + why);
  }
  throw PgLost(address_.masked(join(failures, "; ")));
}

std::vector<PgRows> PgConnection::run(const std::vector<PgQuery>& queries, Elapsed deadline) {
  if (!connection_) throw PgLost("not connected");
  warnings_.clear();
  if (::PQpipelineStatus(connection_) == PQ_PIPELINE_OFF && ::PQenterPipelineMode(connection_) != 1) lost(::PQerrorMessage(connection_));
  for (const auto& q : queries) {
    std::vector<const char*> values;
    std::vector<int> lengths, formats;
    for (const auto& v : q.values) {
      values.push_back(v.bytes.c_str());
      lengths.push_back(static_cast<int>(v.bytes.size()));
      formats.push_back(v.binary ? 1 : 0);
    }
    if (::PQsendQueryParams(connection_, q.sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(), lengths.data(), formats.data(),
                            q.binary_result ? 1 : 0) != 1)
      lost(::PQerrorMessage(connection_));
  }
  if (::PQpipelineSync(connection_) != 1) lost(::PQerrorMessage(connection_));

  std::vector<PgRows> out;
  std::optional<PgRefused> refused;
  for (bool ended_query = false, synced = false; !synced;) {
    int unsent = ::PQflush(connection_);
    if (unsent < 0) lost(::PQerrorMessage(connection_));
    if (::PQisBusy(connection_) || unsent > 0) {
      if (!wait(true, unsent > 0, deadline)) lost("no answer in time");
      if (::PQconsumeInput(connection_) != 1) lost(::PQerrorMessage(connection_));
      continue;
    }
    Result r(::PQgetResult(connection_));
    if (!r) {  // between two queries of a pipeline; twice in a row: the connection broke
      if (ended_query || ::PQstatus(connection_) == CONNECTION_BAD) lost(::PQerrorMessage(connection_));
      ended_query = true;
      continue;
    }
    ended_query = false;
    switch (::PQresultStatus(r.get())) {
      case PGRES_TUPLES_OK: out.push_back(rows_of(r.get())); break;
      case PGRES_COMMAND_OK: out.emplace_back(); break;
      case PGRES_PIPELINE_SYNC: synced = true; break;
      case PGRES_PIPELINE_ABORTED: break;
      default: {
        const char* state = ::PQresultErrorField(r.get(), PG_DIAG_SQLSTATE);
        if (::PQstatus(connection_) == CONNECTION_BAD || !state) lost(::PQresultErrorMessage(r.get()));
        const char* text = ::PQresultErrorField(r.get(), PG_DIAG_MESSAGE_PRIMARY);
        if (!refused) refused.emplace(address_.masked(one_line(text ? text : "")), state);
      }
    }
  }
  if (refused) throw *refused;
  return out;
}

}  // namespace ripcord
