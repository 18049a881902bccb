#!/bin/sh
logger "$@"
