// PostgreSQL by libpq, behind one connection type; the only place that includes libpq-fe.h. Blocking, but never longer than the
// deadline it is given: look-up of names, connecting, each round trip. One connection is used by one thread at a time.
//
// Several hosts in the connection string are tried in order, each with its own part of the time (libpq's asynchronous interface,
// which deadlines need, would stay at a host that swallows packets). No password ever appears in a message.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/error.hpp"

struct pg_conn;
struct pg_result;

namespace ripcord {

// A connection string, taken apart: "postgresql://user:password@host1,host2:5433/database?sslmode=require".
class PgAddress {
 public:
  explicit PgAddress(const std::string& text);  // Error(Exit::invalid_file) that repeats nothing of it
  std::string shown() const;                    // "postgresql://user@host1:5432,host2:5433/database": never a password
  std::string masked(std::string text) const;   // with every occurrence of a secret replaced

 private:
  friend class PgConnection;
  std::map<std::string, std::string> settings_;
};

struct PgValue {
  std::string bytes;
  bool binary = false;
  PgValue(std::string_view text) : bytes(text) {}
  PgValue(const std::string& text) : bytes(text) {}
  PgValue(const char* text) : bytes(text) {}
  PgValue(std::int64_t number) : bytes(std::to_string(number)) {}
  static PgValue raw(std::string_view bytes) {
    PgValue v(bytes);
    v.binary = true;
    return v;
  }
};

struct PgQuery {
  std::string sql;
  std::vector<PgValue> values{};  // $1 ...
  bool binary_result = false;
};
using PgRows = std::vector<std::vector<std::string>>;  // NULL is empty; binary integers are 8 bytes, see pg_int64

std::int64_t pg_int64(const std::string& binary);

// The connection is gone, or did not answer in time: what the server made of the last round trip is not known.
class PgLost : public Error {
 public:
  using Error::Error;
};

// The server refused a statement; the transaction is over.
class PgRefused : public Error {
 public:
  PgRefused(std::string what, std::string sqlstate) : Error(std::move(what)), sqlstate_(std::move(sqlstate)) {}
  const std::string& sqlstate() const { return sqlstate_; }

 private:
  std::string sqlstate_;
};

class PgConnection {
 public:
  explicit PgConnection(PgAddress address) : address_(std::move(address)) {}
  ~PgConnection() { close(); }
  PgConnection(const PgConnection&) = delete;
  PgConnection& operator=(const PgConnection&) = delete;

  const PgAddress& address() const { return address_; }
  bool is_open() const { return connection_ != nullptr; }
  // One pass over the hosts. PgLost with the reason of each. A server that only reads (a standby) is passed by.
  void open(Elapsed deadline);
  void close();
  // All in one round trip; the results in the same order. The first that is refused ends it: PgRefused. PgLost closes.
  std::vector<PgRows> run(const std::vector<PgQuery>& queries, Elapsed deadline);
  // WARNINGs of the last run(), for example of a COMMIT whose standby did not confirm.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  struct Target {
    std::string host, address, port;
  };
  std::vector<Target> targets(Elapsed deadline, std::vector<std::string>& failures) const;
  std::string connect_to(const Target& target, Elapsed deadline);  // "" or why not
  bool wait(bool readable, bool writable, Elapsed deadline) const;
  [[noreturn]] void lost(const std::string& why);
  static void on_notice(void* self, const pg_result* notice);

  PgAddress address_;
  pg_conn* connection_ = nullptr;
  std::vector<std::string> warnings_;
};

}  // namespace ripcord
