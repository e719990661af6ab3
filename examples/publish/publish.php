<?php
// Publishes one event: php publish.php TOPIC DATA. Prints the event's id. PHP 8, no extension.

declare(strict_types=1);

const ATTEMPTS = 8;

function publish(string $topic, string $data): string
{
    $headers = [
        'Content-Type: text/plain',
        // The same key at every attempt: if only the answer was lost, the hub says where the event already stands.
        'Idempotency-Key: ' . bin2hex(random_bytes(16)),
        'Connection: close',
    ];
    if (getenv('TIDINGS_KEY')) {
        $headers[] = 'Authorization: Bearer ' . getenv('TIDINGS_KEY');
    }
    $url = (getenv('TIDINGS_URL') ?: 'http://127.0.0.1:4000') . '/topics?' . http_build_query(['topic' => $topic]);
    $context = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => $headers,
        'content' => $data,
        'timeout' => 10,
        'protocol_version' => 1.1,
        'ignore_errors' => true, // a refusal has a body that says what to do
    ]]);
    for ($attempt = 1; ; $attempt++) {
        $wait = min(0.25 * 2 ** $attempt, 5) * (0.5 + mt_rand() / mt_getrandmax() / 2);
        [$status, $retryAfter, $answer] = post($url, $context);
        if ($status === 200 && isset($answer['last_id'])) {
            return $answer['last_id'];
        }
        $problem = $status === 0 ? 'no answer' : "HTTP $status: " . ($answer['detail'] ?? '');
        // 4xx is our mistake: trying again would not help.
        if ($attempt === ATTEMPTS || ($status >= 400 && $status < 500)) {
            throw new RuntimeException("not published: $problem");
        }
        usleep((int) (max($wait, $retryAfter) * 1_000_000));
    }
}

/** @return array{int, float, ?array} status (0: no answer), Retry-After in seconds, the answer's JSON */
function post(string $url, $context): array
{
    $stream = @fopen($url, 'r', false, $context);
    if ($stream === false) {
        return [0, 0.0, null];
    }
    [$status, $retryAfter] = [0, 0.0];
    foreach (stream_get_meta_data($stream)['wrapper_data'] as $line) {
        if (preg_match('~^HTTP/\S+ (\d{3})~', $line, $found)) {
            $status = (int) $found[1];
        } elseif (preg_match('~^Retry-After: *(\d+)~i', $line, $found)) {
            $retryAfter = (float) $found[1];
        }
    }
    return [$status, $retryAfter, json_decode((string) stream_get_contents($stream), true)];
}

if ($argc !== 3) {
    fwrite(STDERR, "usage: publish.php TOPIC DATA\n");
    exit(2);
}
try {
    echo publish($argv[1], $argv[2]), "\n";
} catch (RuntimeException $error) {
    fwrite(STDERR, $error->getMessage() . "\n");
    exit(1);
}
