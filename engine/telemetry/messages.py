"""What the lines of the log mean: each by its event, which is the first text of the line.

    MESSAGES ─► engine/docs/messages.md, with the level and the module that the code has it under

A line that the engine writes and that is not here fails `tests/test_messages.py`, and so
does one that is here and that nothing writes. A strategy's own lines are its own.
"""

from typing import Final, NamedTuple


class Message(NamedTuple):
    """One event of the log. `…` stands for a word that differs."""

    event: str
    meaning: str
    """What has happened: a sentence."""
    does: str = ""
    """What the engine does about it."""
    mend: str = ""
    """What you do about it; empty where nothing is to be done."""


M = Message

# In the order of the page's groups; the level of each is where the code writes it.
MESSAGES: Final = (
    # --- the run and its processes
    M("strategy loaded", "A strategy's class was imported; `sha256` is that of its file, so that a log says what ran."),
    M("actor started", "A process of the engine was started.", "It is watched by its heartbeat."),
    M(
        "actor died",
        "A process of the engine ended by itself, or was killed; `how` says which.",
        "It is started again after `restart_in_s`. Books of a feed are stale until they verify again; a router "
        "continues from its journal.",
        "Look at the lines before it; SIGKILL without a line of ours is often the kernel, short of memory (`dmesg`).",
    ),
    M(
        "actor gives no sign of life; it is killed and started again",
        "The heartbeat of a process has stood still for `engine.actor_silence_s`, while the supervisor itself did not.",
        "It is killed, and what follows is as for `actor died`.",
        "Often the machine swaps: more memory, or fewer pairs.",
    ),
    M(
        "the fork server ended",
        "The process that starts the others ended by itself, or was killed.",
        "The feeds end with it and are started again by its successor; the order router lives on.",
        "As for `actor died`.",
    ),
    M(
        "the fork server does not answer; it is killed and started again",
        "A process was asked for and has not been started within 20 s.",
        "What follows is as for `the fork server ended`.",
        "Often the machine stood still, or swaps: more memory, or fewer pairs.",
    ),
    M(
        "a process was killed and does not end",
        "A process, `pid`, still runs 5 s after SIGKILL: the kernel waits for something, often a disk.",
        "The engine ends without it.",
        "Look at its disk, and at `dmesg`; it ends when the kernel has what it waits for.",
    ),
    M(
        "actor cannot be started",
        "The engine's own process has no descriptor free for it; `reason` is the system's word.",
        "It is tried again, as after a death.",
        "Often a strategy opens files or connections and does not close them; else raise `ulimit -n`.",
    ),
    M(
        "a process cannot be watched, for no descriptor is free; it is ended",
        "A process was forked while the engine's own had no descriptor free to notice its end by.",
        "It is ended at once, and tried again, as after a death.",
        "As for `actor cannot be started`.",
    ),
    M(
        "a process cannot be forked",
        "The kernel starts no further process, or has no descriptors for it; `reason` says which.",
        "It is tried again, as after a death.",
        "Raise the limit that `reason` names: `ulimit -u`, `ulimit -n`.",
    ),
    M(
        "cannot run",
        "A process cannot work as it is configured; `error` has the sentence.",
        "The run ends with that sentence; a process that only looks on is left out.",
        "What the sentence says.",
    ),
    M(
        "onlooker died",
        "The process of metrics, page or notices ended by itself.",
        "It is started again after `restart_in_s`; trading is not concerned.",
        "Its own lines say why.",
    ),
    M(
        "onlooker cannot run as it is configured; the engine goes on without it",
        "The process of metrics, page or notices has refused its configuration: a port that is taken, a token that is "
        "none.",
        "The run goes on without it.",
        "The line before it says what to change; then start the engine again.",
    ),
    M(
        "onlooker cannot be started",
        "The operating system did not start the process of metrics, page or notices.",
        "The run goes on, and it is tried again after `try_in_s`.",
        "`reason` is the system's word: often too many processes, too many open files, or too little memory.",
    ),
    M(
        "the engine cannot be read",
        "Metrics, page or notices could not read the engine's memory: it is of another version, or just ending.",
        "It is tried again.",
        "Use the same version for both.",
    ),
    M(
        "the view ended, the engine goes on without it",
        "What draws `--view` has ended.",
        "The run goes on.",
        "`engine top` shows more of the same run.",
    ),
    M(
        "the view cannot be started, the engine goes on without it",
        "The operating system did not start the process that draws `--view`.",
        "The run goes on.",
        "`reason` is the system's word.",
    ),
    M(
        "the market begins before trading is open",
        "Orders were not taken within ten seconds of the start; `reason` says why.",
        "Strategies see the market; their orders are refused until trading opens.",
        "What `reason` says; `engine check` finds most of it.",
    ),
    M(
        "orders are left open",
        "The run ends and orders of it are open at Kraken.",
        "The dead man's switch cancels them, where `trading.dead_man_s` is set. The exit code is 1.",
        "Look at them with Kraken's own page, or start the engine again.",
    ),
    M(
        "the supervisor failed",
        "An error of the engine's own in its main process.",
        "The run ends in order: orders first.",
        "Report it with the traceback; start again.",
    ),
    M(
        "the strategy host failed",
        "An error of the engine's own in the thread of the strategies.",
        "The run ends in order: orders first.",
        "Report it with the traceback; start again.",
    ),
    M(
        "the watch of actors and strategies failed",
        "An error of the engine's own in what watches processes and callbacks.",
        "The run ends in order: orders first.",
        "Report it with the traceback; start again.",
    ),
    M(
        "the venue's ledger, the journal and the callbacks agree",
        "At the end of a run on the local venue or on paper: every order and fill of the venue stands in the journal, "
        "and was told to its strategy once.",
    ),
    M(
        "the venue's ledger, the journal and the callbacks differ",
        "At the end of a run on the local venue or on paper: an order or a fill of the venue is not as the journal has "
        "it, or as a strategy was told.",
        "The summary has every difference; nothing else is concerned.",
        "Report it with the summary and the log.",
    ),
    M(
        "the ledger cannot be compared",
        "At the end of a run on the local venue or on paper, the venue's ledger or the journal could not be read.",
        "The summary says so; nothing else is concerned.",
        "Report it with the traceback.",
    ),
    M(
        "a command failed",
        "An error of the engine's own while it answered a command such as `engine orders`.",
        "The command is told that it failed; the run goes on.",
        "Report it with the traceback.",
    ),
    M(
        "a thread raised",
        "A thread ended by an error; the traceback follows. The engine's own threads catch theirs, so it is most often "
        "one of a strategy, or of a library that it uses.",
        "The others go on.",
        "Mend what the traceback names.",
    ),
    M(
        "an error that nobody can catch",
        "A destructor, or a callback that another library called, raised; the traceback follows.",
        "What was under way goes on.",
        "Mend what the traceback names; report it if it is the engine's own.",
    ),
    M(
        "unreadable record",
        "A record of a ring between two processes could not be read.",
        "It is counted and left out; state that it told is told again with the next one.",
        "Report it with `reason`.",
    ),
    # --- notices
    M(
        "notices are not taken",
        "A target of notices did not answer, or not yes; `reason` is what it said.",
        "They are sent again, with what comes meanwhile, after pauses of one second to five minutes.",
        "`engine notices test` tries it.",
    ),
    M(
        "notices are lost",
        "A target of notices refused a message for good, or did not take it in time.",
        "They are counted as `lost`.",
        "What `reason` says: often an address or a token that is valid no more.",
    ),
    M(
        "sending notices failed",
        "An error of the engine's own while a notice was sent.",
        "It is tried again.",
        "Report it with the traceback.",
    ),
    M(
        "secrets of notices come from the environment",
        "The address or token of a target was in the environment, which other programs of this user can read.",
        "It is used, and wiped there.",
        "Put it into a file of mode 0600 and name that in `secret_file`.",
    ),
    # --- connections
    M("connected", "A WebSocket is connected; `connects` counts how often.", "It subscribes to what is wanted."),
    M(
        "connecting failed",
        "A WebSocket could not be opened; `reason` names the step: DNS, TCP, TLS, HTTP.",
        "It is tried again, at most every 30 s (`[connection]`), as often as Kraken allows.",
        "With it for long: `engine doctor` asks each step.",
    ),
    M(
        "connection ended",
        "A WebSocket was closed by Kraken or the network, or by us because it was silent.",
        "It is opened again: at once the first times, then after pauses. Books are stale until they verify, orders "
        "wait for the account's snapshot or go by REST.",
    ),
    M(
        "session failed",
        "A message that the engine could not take: an error of its own. `frame` is its beginning.",
        "The connection is replaced.",
        "Report it with `frame` and the traceback.",
    ),
    M(
        "socket does not close",
        "An operating system's socket did not end in time.",
        "It is left behind.",
    ),
    M("protocol error", "The other side broke the rules of WebSocket.", "The connection is replaced."),
    M(
        "frames go the portable way from the socket",
        "The compiled reader does not fit the installed picows; `reason` says why.",
        "The portable one is used: a little slower, otherwise the same.",
        "Build the engine again with the picows that is installed.",
    ),
    M(
        "… frame",
        "Kraken sent a message that is `malformed` (could not be read, or not wholly), `unknown` (of a kind that this "
        "engine does not know), or `refused` (an error that answers no request of ours).",
        "It is counted and left out; a book that lacks it fails its checksum and is asked for anew.",
        "With it often: is there a newer version of the engine?",
    ),
    M(
        "subscription refused",
        "Kraken refused a channel; `advice` says why and what to do.",
        "Of a pair that was just asked for, the run ends or the caller is told; of a pair that was live, its book is "
        "untrusted, and asked for again after a minute and then ever more rarely, or when Kraken tells of the pair; "
        "of all pairs, once one was live, the engine goes on with what it knows of them, and asks again likewise. "
        "Of the account, no order is taken until it is mended.",
        "What `advice` says.",
    ),
    M("frame …", "A raw frame that was received or sent, with `log.frames`; secrets are taken out."),
    # --- books and market data
    M("book… live", "The books' checksums verify: they may be traded on."),
    M(
        "book… in doubt",
        "Books that may be wrong: `reason` is a checksum, a crossed book, silence, or a lost connection.",
        "They are not traded on; a snapshot of each is asked for, and after three failures in a minute once a minute.",
        "With one pair often: a smaller `feed.depth`. With all: the network.",
    ),
    M("book… followed", "Pairs were subscribed at run time."),
    M("book… unsubscribed", "Nobody follows these pairs' books any more."),
    M("book unproved", "A pair was silent for `feed.book_silence_s`.", "A snapshot proves it; the book stays live."),
    M(
        "pair data missing",
        "A book came, and what Kraken says of its pair (precision, minimums) did not within five seconds.",
        "The book is told without it; orders on the pair are refused until it comes.",
    ),
    M("venue status", "Kraken's mode: online, maintenance, cancel_only or post_only.", "See `trading`."),
    M(
        "venue notice",
        "Kraken says that something of a pair or of the service changes.",
        "Precisions and statuses are taken over by themselves.",
    ),
    M(
        "trades missed",
        "Public trades that neither the WebSocket nor REST could tell.",
        "They are counted; candles that lack them are never told as closed.",
        "Nothing for books and orders. After a long outage REST reaches back only so far.",
    ),
    M(
        "a number does not fit a record",
        "Kraken sent a price or quantity beyond what a record holds.",
        "That record is not published, and counted as `unpublishable`.",
        "Report it with `error`; the pair's strategies do not see it.",
    ),
    M(
        "WebSocket and REST tell different prices",
        "The two sources differ by more than `fallback.divergence_percent`.",
        "The WebSocket's counts; it is counted in `engine sources`.",
        "With it often on one pair: look at Kraken's own page before trading it.",
    ),
    M(
        "candles of REST cannot be used",
        "REST's candles do not fit the intervals.",
        "They are left out and asked for again later.",
    ),
    M(
        "a candle differs from Kraken's",
        "A candle made of the trades is not what Kraken's channel or REST told.",
        "Ours is kept; it is counted as `candles_differing`.",
        "With it often: report it with the line.",
    ),
    # --- the account
    M(
        "API key",
        "The key that is used, by its fingerprint, and where it was found; or, as a warning, what is wrong with that "
        "place.",
        "It is used all the same, and wiped from the environment.",
        "What `warning` says.",
    ),
    M(
        "no WebSocket token",
        "Kraken gave no token for the private WebSockets; `reason` says why.",
        "It is asked for again after `retry_in_s`; what only you can mend waits for `engine resume`.",
        "What `reason` says, often a permission of the key: `engine keys test`.",
    ),
    M("no token", "The trading connection waits for a token.", "It is asked for again; cancels and orders go by REST."),
    M("token refused", "Kraken refused a token before its time.", "Another one is fetched."),
    M(
        "REST call refused",
        "Kraken answered a call of REST with an error; see Kraken's errors below.",
        "Who asked decides: a lookup is tried again, an order's state is looked up.",
        "What Kraken's error says.",
    ),
    M(
        "REST call failed",
        "A call of REST got no answer; `reason` names the step.",
        "What may have changed an order is looked up, never sent again blindly.",
        "With it for long: `engine doctor`.",
    ),
    M(
        "nonce floor unreadable, the clock alone decides",
        "The file that keeps the key's nonces is damaged.",
        "Nonces begin at the clock; it is written anew.",
        "Nothing, unless Kraken says EAPI:Invalid nonce: then make a new key.",
    ),
    M(
        "nonce floor not written",
        "The file that keeps the key's nonces cannot be written.",
        "Trading goes on, and it is written as soon as that can be; after a crash before then Kraken may refuse some "
        "nonces.",
        "Make room, or mend the permissions of `path`.",
    ),
    M(
        "nonces leap ahead",
        "Kraken has refused three nonces of this key in a row, or more: it has seen higher ones.",
        "The next one is `by_s` seconds further ahead. The fifth leap, of an hour, is the last.",
        "Use the key in no other program. Where it was used with nonces that are not made of the time, make a new key.",
    ),
    M("account's tier", "Kraken's rate limits for this account.", "The engine keeps to them."),
    M(
        "facts are lost",
        "What Kraken told of the account could not be handed to the order router.",
        "No order is taken until a new snapshot has come; nothing is lost for good.",
        "With it often: the order router has too little processor time.",
    ),
    # --- orders
    M("trading", "Whether orders are taken, in which mode, and why not.", "Strategies are told by `on_trading`."),
    M(
        "trading halted",
        "The loss of the day has reached `risk.daily_loss_max`.",
        "Only cancels are taken; open orders are canceled, stops of brackets stay.",
        "Find out why; then `engine resume`, and as much may be lost once more.",
    ),
    M(
        "the day's loss is not known",
        "A position has no price yet, so its profit or loss cannot be counted.",
        "The limit is checked as soon as there is one, or after a minute without it.",
    ),
    M(
        "the day's loss counts anew",
        "A person resumed trading though the loss of the day, told as `lost`, had reached its limit.",
        "As much may be lost once more today, then trading halts again.",
        "Nothing, if you meant to.",
    ),
    M(
        "positions have no price for the day's loss",
        "Positions in pairs that nobody follows, or whose book has not come for a minute, have no price of now.",
        "They count at the last price, else at that of the day's beginning, else at what they cost.",
        "Follow these pairs, if the limit is to see them.",
    ),
    M("order found", "Kraken has an order of a strategy that this run did not know.", "It is followed."),
    M(
        "order adopted",
        "An order of the account that this engine did not send.",
        "It is followed, counts for the limits, and is left alone.",
        "Nothing, if you know of it.",
    ),
    M("order refused", "The order router refused an order of a strategy.", "The strategy is told the reason."),
    M(
        "order in doubt",
        "An order was sent and its answer did not come.",
        "It is looked up, about two seconds after it was sent; nothing is sent twice.",
    ),
    M("order resolved", "What became of an order in doubt is known."),
    M(
        "an order that seemed absent was found",
        "Kraken's lists lagged: an order that was held for never placed is there.",
        "It lives again, and its strategy is told.",
    ),
    M(
        "open orders that Kraken does not list are looked up",
        "After a reconnect, Kraken's snapshot lacks orders that were open.",
        "REST says what became of each; until then their pairs take no order.",
    ),
    M(
        "fact not acted upon",
        "Kraken told something of an order that contradicts what is known.",
        "It is kept aside and counted as `quarantined`.",
        "Compare the order with Kraken's page; report it.",
    ),
    M(
        "a balance cannot be told",
        "The account has more currencies than there is room for, or a number of one is absurdly long.",
        "What strategies read of that currency stays as it was; the others are right.",
        "Compare `engine balances`; report the line.",
    ),
    M("cancel refused", "Kraken refused a cancel.", "It is sent again until the order is over."),
    M(
        "circuit breaker open",
        "Several orders in a row failed at the connection.",
        "No order goes out by it for `trading.breaker_open_s`; cancels do, and orders by REST.",
        "With it often: the network, or Kraken's status page.",
    ),
    M(
        "dead man's switch may still cancel what is open",
        "Kraken did not confirm at the end of the run that the switch is off.",
        "It was tried for two seconds. If it is still on, Kraken cancels all orders of the account, and stops too, "
        "within `trading.dead_man_s`.",
        "Look at Kraken's page in a minute; place again what is missing, or start the engine.",
    ),
    M(
        "dead man's switch not set",
        "Kraken did not confirm the switch that cancels everything when we are gone.",
        "It is set again; meanwhile the last setting holds.",
        "With it for long: if this host died now, orders would stay open.",
    ),
    M(
        "REST does not answer either, no order is taken",
        "A private WebSocket is out, and REST cannot stand in for it.",
        "Only cancels are tried, until one of them is back.",
        "`engine doctor` asks each step.",
    ),
    M(
        "reports are never told",
        "A strategy took no reports for so long that not all fills could be kept.",
        "They are in the history; the strategy never hears of them.",
        "A strategy that hangs: see `strategy hangs`. `engine fills` has them all.",
    ),
    M("exit sent", "An exit of a bracket was sent: its stop, or the close at its target."),
    M("bracket over", "A bracket has nothing left to do."),
    M(
        "exits of a bracket are for more than is left",
        "Stops of a bracket would sell more than it holds, for a fill overtook them.",
        "They are canceled, and sent again for what is left.",
    ),
    M(
        "an exit came to nothing and is sent again; until then nothing protects the position",
        "Kraken refused or ended an exit of a bracket.",
        "It is sent again after `wait_s`, ever more rarely up to a minute.",
        "What `reason` says; close the position by hand if it cannot be.",
    ),
    M(
        "the target of a bracket waits for its book",
        "The pair's book has not been live for a minute: its feed is out, or who asked for the pair gave it back.",
        "The stops stay; the target is not looked at before the book is live again.",
        "Subscribe to the pair again, or close what is open by hand.",
    ),
    M(
        "a bracket has no exit, and its pair is not followed",
        "The stop of a bracket ended, and the rules of the pair have not come: it was added while an earlier engine "
        "ran, and nobody has subscribed to it since.",
        "A stop is placed as soon as somebody follows the pair.",
        "Subscribe to the pair, or name it in `symbols`; or close what is `open` by hand.",
    ),
    M(
        "a fill has no closing order at Kraken",
        "A conditional close that a fill should have made is not to be found.",
        "A bracket gets a stop of our own; of another order nothing is done.",
        "Look whether the position is protected.",
    ),
    M(
        "position begins with what the account holds",
        'With `positions = "account"`: how much, and what other positions claim of it.',
    ),
    M("stopping", "The order router ends its orders, as `trading.on_stop` or `trading.on_engine_loss` says."),
    M(
        "something that is held has no stop: Kraken did not take it in time",
        "The run ends, and brackets have filled something that no stop protects.",
        "The next start places it.",
        "Start the engine again, or place a stop by hand.",
    ),
    M("exits of brackets stay open at Kraken; the next start looks after them", "They protect what is held."),
    M(
        "orders are left open for the dead man's switch",
        "They could not be canceled in time.",
        "The switch stays armed, and cancels them.",
        "Look at them on Kraken's page.",
    ),
    # --- files
    M(
        "waiting for the order router of an engine that was killed",
        "It still cancels that engine's orders, for 30 s at most.",
        "No order is taken until it has ended; then trading goes on from its journal.",
    ),
    M("journal read", "What was found in the journal at the start."),
    M(
        "the journal is empty, the history is not: positions and the day's loss begin at zero; move the journal back, "
        "or check positions by hand",
        "The state directory has a history of fills and no journal of them.",
        "Trading begins without it.",
        "As it says.",
    ),
    M(
        "the journal cannot be written, no order is taken",
        "The disk is full, or the journal's file cannot be written.",
        "Only cancels are taken; facts are kept in memory and written when it goes again.",
        "Make room; trading opens by itself, unless it was halted. After an error of the disk the line says that the "
        "engine is to be started again.",
    ),
    M("journal writes again", "There is room again.", "Trading opens by itself, unless it was halted."),
    M(
        "facts are in the journal's snapshot alone",
        "While the journal could not be written more facts came than are kept; `facts` says how many more.",
        "Orders and positions have them; they are missing in a history that is made again from the journal.",
    ),
    M(
        "journal not compacted",
        "A new segment could not be begun.",
        "The old one goes on; it is tried again ten seconds later.",
        "Make room on the disk.",
    ),
    M(
        "history not written, trading goes on",
        "The history for people, in SQLite, cannot be written.",
        "It is tried again; it can be made anew from the journal.",
        "Make room, or end what keeps the file.",
    ),
    M(
        "history cannot be used and is begun anew",
        "The history's file is no SQLite database any more, or one of another version; `reason` says which.",
        "It was moved to `moved_to`, and is made again from the journal.",
        "Nothing; `moved_to` may be deleted.",
    ),
    # --- strategies
    M(
        "callback raised",
        "A callback of a strategy raised; the traceback follows.",
        "It counts as an error: more than `engine.strategy_errors_per_minute_max` halt the strategy.",
        "Mend the strategy.",
    ),
    M(
        "strategy halted",
        "Too many of its callbacks raised in a minute.",
        "It is called no more; its orders end as `trading.on_strategy_halt` says.",
        "Mend the strategy and start the engine again.",
    ),
    M(
        "strategy ended",
        "The order router was told that a strategy is halted.",
        "It takes no order of it, and ends its orders as `trading.on_strategy_halt` says.",
        "See `strategy halted`.",
    ),
    M(
        "a strategy's task raised",
        "A task that a strategy began with asyncio raised.",
        "The others go on.",
        "Mend the strategy.",
    ),
    M(
        "slow callback",
        "A callback took longer than `engine.slow_callback_ms`; all strategies waited for it.",
        "It is counted.",
        "Do less in it, or in another thread or process.",
    ),
    M(
        "callback does not return",
        "A callback has been running for half a second or more; `line` is where it is.",
        "After `engine.hang_s_max` its orders are ended.",
        "See that line: often a request without a time limit, or an `async` callback that waits for an order of its "
        "own strategy, which is told nothing before it returns; wait in a task that it starts.",
    ),
    M("callback returned", "A callback that did not return has, after `took_s`.", "Its strategy trades again."),
    M(
        "the strategies' thread is held by something that is no callback",
        "A task or another library blocks the thread that all strategies share.",
        "After `engine.hang_s_max` the orders of all are ended.",
        "See `line`.",
    ),
    M(
        "strategy hangs",
        "A callback has not returned for `engine.hang_s_max`.",
        "No order of it is taken, and its orders end as `trading.on_strategy_halt` says; it trades again when it has "
        "returned.",
        "See the line of `callback does not return`.",
    ),
    M("strategy is back", "A strategy that hung has returned.", "Its orders are taken again."),
    M(
        "a strategy does not come back from its callback",
        "At the end of the run a callback has not returned within `engine.stop_deadline_s`.",
        "It is left behind, and the exit code is 1.",
        "See the line that `exit` names.",
    ),
    M(
        "strategy asks for more time than there is, the others go first; give it an engine of its own",
        "Its callbacks need more than its share of the strategies' thread.",
        "It rests between its turns, and skips records, counted as `gaps`.",
        "As it says: another engine with another `name`.",
    ),
    M(
        "timer stopped",
        "A strategy has set its timer_s to what is no number of seconds; `reason` says to what.",
        "No call of on_timer follows.",
        "Set timer_s to a number of seconds, or to 0.",
    ),
    M(
        "fell behind",
        "A strategy was slower than its records.",
        "What was overwritten or too old is skipped and counted; it gets the newest state.",
        "Do less in its callbacks.",
    ),
    M(
        "call refused",
        "A call that another thread handed over by `call_soon` was not taken; `reason` says why.",
        "It is counted as `calls_refused`.",
        "What `reason` says.",
    ),
    M(
        "mistake of the strategy",
        "A call that gave no order, such as `cancel(None)`, that came too late (a cancel in `on_stop`), or that asked "
        "for candles which are not made.",
        "It has no effect, and is counted as `mistakes`.",
        "What `reason` says.",
    ),
    M(
        "refusals are not told by on_order",
        "More refused orders wait for a strategy than are kept.",
        "Further ones are not told, and counted as `untold`.",
        "Look at `order.state` after `buy` and `sell`.",
    ),
    M(
        "fill of an order that was never told",
        "A fill of an order that the strategy's side does not know.",
        "It is not told by `on_fill`, and counted as `untold`; the position has it.",
        "`engine fills` shows it; report it.",
    ),
    M(
        "strategy does not take its reports",
        "A strategy's ring of reports is full.",
        "It gets no new order; its orders end as `trading.on_strategy_halt` says; what it misses is told anew.",
        "A strategy that hangs: see `callback does not return`.",
    ),
    M(
        "strategy takes its reports again",
        "There is room in its ring.",
        "It is told everything anew, and trades again.",
    ),
    M(
        "handler raised",
        "A handler of a program raised.",
        "The others are called; more than `engine.strategy_errors_per_minute_max` halt it.",
        "Mend the handler.",
    ),
    M(
        "handler halted",
        "Too many calls of a handler raised in a minute.",
        "It is called no more.",
        "Mend the handler.",
    ),
    M(
        "handler is too slow",
        "An async handler's queue is full.",
        "The oldest events are dropped, and counted.",
        "Do less in it.",
    ),
    M(
        "handler was not told all",
        "The engine has ended, and an async handler had not taken the orders or fills that waited for it.",
        "What waited is dropped, and counted.",
        "Do less in it.",
    ),
    # --- the built-in venue
    M("pair trades", "On paper, a pair's book is live: orders on it are taken and filled."),
    M(
        "pair waits",
        "On paper, a pair's book is not to be trusted; `reason` says why.",
        "Nothing is filled, and new orders are refused, until it is.",
    ),
    M(
        "pair cannot be traded on paper",
        "Kraken lists the pair in a precision that the paper venue cannot take over.",
        "Its orders stay unfilled, and new ones are refused.",
        "Start the run again: it then begins in that precision.",
    ),
    M("paper profit", "What a paper run came to, and what that assumes."),
    M(
        "the paper venue does not tell its terms",
        "At the end of a paper run its venue did not answer.",
        "The summary lacks `paper`; nothing else is concerned.",
        "Report it with `error`.",
    ),
    M("fault", "The venue makes a trouble that was asked for with `--fault`."),
    M(
        "fault cannot strike",
        "A trouble that was asked for does not fit what the venue serves.",
        "The venue goes on without it.",
        "Change `--fault`.",
    ),
    M("status", "The venue's mode, as it tells its clients."),
    M(
        "slow client disconnected",
        "A client of the venue did not read what it was sent.",
        "Its connection is closed, as Kraken does.",
    ),
)
