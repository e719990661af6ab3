//! An exchange that never was: a random walk per symbol, from a seed. Thousands of trades a second when somebody looks.
//!
//! Trades are ephemeral, one topic per symbol, and each says all of its candle: a reader that skips some (`?conflate`) has
//! lost nothing. Finished candles are stored, the newest few, for the page that comes late.

use std::time::Duration;

use serde::Serialize;
use tidings_hub::ports::{Op, Publish};
use tidings_hub::{From, Hub};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::stage::{self, Requests, Seeded};

const SYMBOLS: [(&str, f64); 4] = [("GULL", 120.0), ("HERN", 64.0), ("TERN", 310.0), ("WREN", 18.5)];
const SEED: u64 = 20_260_101;
const TICK_MS: u64 = 50;
const CANDLE_MS: u64 = 3_000;
const CANDLES_KEPT: u64 = 60;
/// A page says how many trades a second it wants, again and again while it looks; then the exchange goes quiet.
const LEASE: Duration = Duration::from_secs(15);
const RATE_IDLE: u32 = 20;
const RATE_MAX: u32 = 20_000;
const RATE_TOPIC: &str = "demo/exchange";

#[derive(serde::Deserialize)]
struct Wanted {
    rate: u32,
}

// Promise: one submission per tick, however many trades it has.
pub(super) async fn run(hub: Hub) {
    for (symbol, _) in SYMBOLS {
        let _ = stage::declare(&hub, &prices(symbol), stage::ephemeral()).await;
        let _ = stage::declare(&hub, &candles(symbol), stage::count(CANDLES_KEPT)).await;
    }
    let _ = stage::declare(&hub, RATE_TOPIC, stage::ephemeral()).await;
    let Some(mut requests) = Requests::of(&hub, RATE_TOPIC, From::Tail) else { return };

    let mut market = Market::new(SEED);
    let (mut rate, mut until) = (RATE_IDLE, Instant::now());
    let mut ticks = interval(Duration::from_millis(TICK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            wanted = requests.next::<Wanted>() => match wanted {
                Some(wanted) => (rate, until) = (wanted.rate.clamp(RATE_IDLE, RATE_MAX), Instant::now() + LEASE),
                None => return,
            },
            now = ticks.tick() => {
                if now > until {
                    rate = RATE_IDLE;
                }
                let ops = market.trade(hub.now_ms(), rate);
                if !stage::submit(&hub, ops).await.goes_on() {
                    return;
                }
            }
        }
    }
}

fn prices(symbol: &str) -> String {
    format!("demo/prices/{symbol}")
}

fn candles(symbol: &str) -> String {
    format!("demo/candles/{symbol}")
}

struct Market {
    seeded: Seeded,
    listings: [Listing; SYMBOLS.len()],
    /// Trades since the start.
    count: u64,
}

struct Listing {
    symbol: &'static str,
    first: f64,
    price: f64,
    candle: Candle,
}

#[derive(Clone, Serialize)]
struct Candle {
    symbol: &'static str,
    /// The number of the trade among all.
    n: u64,
    /// When the candle began, in milliseconds since 1970.
    ms: u64,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
}

impl Market {
    fn new(seed: u64) -> Self {
        let listings = SYMBOLS.map(|(symbol, price)| Listing {
            symbol,
            first: price,
            price,
            candle: Candle { symbol, n: 0, ms: 0, open: price, high: price, low: price, close: price },
        });
        Self { seeded: Seeded(seed), listings, count: 0 }
    }

    /// The trades of one tick, and the candles that ended with it.
    fn trade(&mut self, now_ms: u64, rate: u32) -> Vec<Op> {
        let ms = now_ms - now_ms % CANDLE_MS;
        let mut ops = Vec::new();
        let mut add = |event: Option<Publish>| ops.extend(event.map(Op::Publish));
        for listing in &mut self.listings {
            let Some(ended) = listing.turn(ms) else { continue };
            add(stage::event(&candles(ended.symbol), Some("candle"), stage::json(&ended)));
        }
        // As many trades, as far: the walk looks the same at any rate.
        let step = 0.000_35 * (f64::from(RATE_IDLE) * 100.0 / f64::from(rate)).sqrt();
        let trades = u64::from(rate) * TICK_MS / 1_000;
        for _ in 0..trades {
            let at = usize::try_from(self.seeded.next()).unwrap_or(0) % SYMBOLS.len();
            let Some(listing) = self.listings.get_mut(at) else { continue };
            self.count += 1;
            listing.trade(&mut self.seeded, step, self.count);
            add(stage::event(&prices(listing.symbol), Some("trade"), stage::json(&listing.candle)));
        }
        ops
    }
}

impl Listing {
    /// Begins the candle of this time; the one that ended, if any.
    fn turn(&mut self, ms: u64) -> Option<Candle> {
        if self.candle.ms == ms {
            return None;
        }
        let price = cents(self.price);
        let next = Candle { ms, open: price, high: price, low: price, close: price, ..self.candle.clone() };
        let ended = std::mem::replace(&mut self.candle, next);
        (ended.ms > 0).then_some(ended)
    }

    fn trade(&mut self, seeded: &mut Seeded, step: f64, n: u64) {
        let chance = seeded.part() + seeded.part() + seeded.part() - 1.5;
        // A thread to where it began, so that it never walks off the page.
        let back = (self.first / self.price - 1.0) * step * 0.02;
        self.price *= 1.0 + chance * step + back;
        let price = cents(self.price);
        let candle = &mut self.candle;
        candle.n = n;
        candle.close = price;
        candle.high = candle.high.max(price);
        candle.low = candle.low.min(price);
    }
}

fn cents(price: f64) -> f64 {
    (price * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(seed: u64) -> Vec<String> {
        let mut market = Market::new(seed);
        let ticks = (0..200).flat_map(|tick| market.trade(1_000_000 + tick * TICK_MS, 2_000));
        let texts = ticks.filter_map(|op| match op {
            Op::Publish(event) => String::from_utf8(event.data.to_vec()).ok(),
            _ => None,
        });
        texts.collect()
    }

    #[test]
    fn the_walk_is_that_of_its_seed() {
        assert_eq!(day(1), day(1));
        assert_ne!(day(1), day(2));
    }

    #[test]
    fn each_trade_says_all_of_its_candle() {
        let all = day(SEED);
        assert!(all.len() >= 20_000, "{}", all.len());
        let mut last = 0;
        for text in all {
            let trade: serde_json::Value = serde_json::from_str(&text).unwrap();
            let number = |member: &str| trade[member].as_f64().unwrap();
            assert!(number("low") <= number("open").min(number("close")), "{trade}");
            assert!(number("high") >= number("open").max(number("close")), "{trade}");
            last = last.max(trade["n"].as_u64().unwrap());
        }
        assert_eq!(last, 20_000);
    }
}
