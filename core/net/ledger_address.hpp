// `ledger:` of a fleet file: a path, or the address of a PostgreSQL database. Addresses may hold a password, so nobody but the
// store gets them raw: ledger_shown() is what people and programs are told.
#pragma once
#include <memory>
#include <string>

#include "core/net/ledger.hpp"

namespace ripcord {

bool is_postgres_address(const std::string& ledger);
void check_postgres_address(const std::string& ledger);  // Error without any part of it
std::string ledger_shown(const std::string& ledger);
// False: there is no ledger yet, and asking makes none. A database is taken to be there.
bool ledger_exists(const std::string& ledger);

// `patience`: how long a database may be away (fail-over, restart) before a call gives up.
inline constexpr Millis kLedgerPatience{20000};
std::unique_ptr<LedgerStore> open_ledger(const std::string& ledger, Millis patience = kLedgerPatience);

}  // namespace ripcord
