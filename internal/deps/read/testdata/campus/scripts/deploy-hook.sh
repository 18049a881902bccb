#!/bin/sh
systemctl reload haproxy
