#include "core/net/ledger_address.hpp"

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/net/postgres.hpp"

namespace ripcord {

bool is_postgres_address(const std::string& ledger) { return ledger.starts_with("postgresql://") || ledger.starts_with("postgres://"); }

void check_postgres_address(const std::string& ledger) { PgAddress{ledger}; }

std::string ledger_shown(const std::string& ledger) { return is_postgres_address(ledger) ? PgAddress(ledger).shown() : ledger; }

bool ledger_exists(const std::string& ledger) { return is_postgres_address(ledger) || exists(ledger); }

std::unique_ptr<LedgerStore> open_ledger(const std::string& ledger, Millis patience) {
  return is_postgres_address(ledger) ? open_postgres_ledger(ledger, patience) : open_sqlite_ledger(ledger);
}

}  // namespace ripcord
